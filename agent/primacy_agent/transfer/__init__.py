"""Contents of models from agent to agent: served, fetched, shared out among those that fetch the same."""

from primacy_agent.transfer.bandwidth import Limiter
from primacy_agent.transfer.fetching import Fetcher
from primacy_agent.transfer.pulling import FetchFailed
from primacy_agent.transfer.serving import PieceServer

__all__ = ["FetchFailed", "Fetcher", "Limiter", "PieceServer"]
