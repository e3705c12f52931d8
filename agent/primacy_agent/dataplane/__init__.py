"""How the weights reach what carries the traffic."""
