"""One servicer for each proto service: they translate and never decide."""
