"""An agent's copy of the log: what to take, fetch, apply, park and say."""
