"""The replication log of a group: sequencing, streaming, acknowledgements, conflicts."""
