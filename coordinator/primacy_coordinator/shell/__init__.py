"""Runs the machines: events in, effects out. Decides nothing."""
