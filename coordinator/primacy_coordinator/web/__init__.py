"""The coordinator's HTTP port: health, metrics, and a page for people."""
