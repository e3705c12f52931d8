"""A real cluster on this machine: what `primacy up` runs."""
