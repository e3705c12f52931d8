"""For the service beside an agent: am I active, where does this request go, what is configured.

    from primacy_agent.client import Client

    with Client("127.0.0.1:7410") as primacy:
        if primacy.is_active():                      # by this machine's clock, at this ask; no call
            write(order, epoch=primacy.epoch)
        forward(request, to=primacy.pick().endpoint)  # about a microsecond; no call
        limits = primacy.config("app/limits.yaml")    # the document in force, read already

Threads in the background keep up with the agent. While it is gone, `is_active` is true until the lease runs out and
false after that, and picks follow the last weights; `weights().age_s` says how old they are.
"""

from primacy_agent.client.authority import Authority
from primacy_agent.client.documents import Document
from primacy_agent.client.errors import ClientError, Closed, Forked, NoDocument, NoRegion, NotReady
from primacy_agent.client.facade import Client
from primacy_agent.client.picks import Pick, Weights

__all__ = [
    "Authority",
    "Client",
    "ClientError",
    "Closed",
    "Document",
    "Forked",
    "NoDocument",
    "NoRegion",
    "NotReady",
    "Pick",
    "Weights",
]
