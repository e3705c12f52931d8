"""What `primacy doctor` looks at. Every check is a function of what the coordinator answered."""
