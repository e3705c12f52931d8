"""What an agent remembers over its lives."""

from __future__ import annotations

from dataclasses import dataclass

from primacy_wire.messages import Lineage, Membership


@dataclass(frozen=True, slots=True)
class Memory:
    """What the agent keeps in its state folder. The lease is not among it: a new life holds nothing."""

    lineage: Lineage = Lineage()
    heard_epoch: int = 0
    membership: Membership = Membership()
    accepted_epoch: int = 0
    promoted_epoch: int = 0
    """The epoch whose `on_promote` exited 0, with no `on_demote` begun since; 0: none."""
    demote_owed_epoch: int = 0
    """The service may have been promoted under this epoch, and no `on_demote` has succeeded since; 0: none is owed."""
    lease_ttl_ns: int = 0
    """Of the lease that was accepted last."""
