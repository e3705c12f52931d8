"""What is wrong, how long it has been, what explains it, and whom it is told: pure functions of frozen values."""
