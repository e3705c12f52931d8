"""Replication at one agent: its journal, what it applies, what it writes, and what it knows of the others."""
