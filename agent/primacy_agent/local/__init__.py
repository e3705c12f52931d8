"""What the agent says to its own service."""
