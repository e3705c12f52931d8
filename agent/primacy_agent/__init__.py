"""The agent: watches one region's service, holds its active lease and routes by the weights."""
