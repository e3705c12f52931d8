"""The primacy command."""
