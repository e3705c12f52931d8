"""A small world in which the real cores of coordinator and agents live: virtual time, one seed, every fault."""
