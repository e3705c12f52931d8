"""What is measured of a group, what is promised of it, and what is wrong: pure, beside the machine that decides."""
