"""The coordinator: decides which region of each group is active, and how reads are spread."""
