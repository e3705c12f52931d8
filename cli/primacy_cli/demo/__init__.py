"""The service that each region of a local cluster runs."""
