"""Benchmarks: each a ratio to a floor or a budget, measured in one run. `scripts/bench` runs them."""
