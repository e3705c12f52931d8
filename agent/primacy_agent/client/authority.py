"""Am I active? Computed from this machine's clock at each ask."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from primacy.agent.v1.local_service_pb2 import WatchActiveResponse
from primacy.v1.agent_pb2 import Phase

_BOOT = time.CLOCK_BOOTTIME
_read_ns = time.clock_gettime_ns


@dataclass(frozen=True, slots=True)
class Authority:
    """What the agent says of authority, as of one instant."""

    active: bool = False
    """This service may act as the active one."""
    epoch: int = 0
    """Hand it to every sink that is written to: the epoch held while active, else the newest heard of."""
    region: str = ""
    """The region that the agent believes active; empty when it knows of none."""
    phase: str = "STANDBY"
    """`STANDBY`, `PROMOTING`, `ACTIVE`, `FROZEN` or `DEMOTING`."""
    active_epoch: int = 0
    """The newest epoch that the agent heard was accepted, by any region."""
    frozen: bool = False
    """Writes are stopped for a planned move."""
    reason: str = "the agent has not answered yet"
    """Why it is not active; empty when it is."""
    deadline_ns: int = 0
    """When the lease ends if nothing renews it, on this machine's CLOCK_BOOTTIME; 0: none is held."""


class AuthorityWatch:
    """The newest word of the agent. Written by one thread, read by all."""

    def __init__(self) -> None:
        self._told = Authority()
        self._changed = threading.Condition()
        self._closed = False

    def take(self, message: WatchActiveResponse) -> None:
        # An agent on another machine has another clock: its deadline never counts for longer than what it said is left.
        arrived_ns = _read_ns(_BOOT)
        deadline_ns = 0
        if message.deadline_boottime_ns:
            deadline_ns = min(message.deadline_boottime_ns, arrived_ns + message.remaining.ToNanoseconds())
        told = Authority(
            active=message.active,
            epoch=message.epoch,
            region=message.region,
            phase=Phase.Name(message.phase).removeprefix("PHASE_") if message.phase in Phase.values() else "STANDBY",
            active_epoch=message.active_epoch,
            frozen=message.frozen,
            reason=message.reason,
            deadline_ns=deadline_ns,
        )
        with self._changed:
            self._told = told
            self._changed.notify_all()

    def is_active(self) -> bool:
        told = self._told
        return told.active and _read_ns(_BOOT) < told.deadline_ns

    def now(self) -> Authority:
        """As of this instant: what has run out is not active, whatever was said last."""
        told = self._told
        if not told.active or _read_ns(_BOOT) < told.deadline_ns:
            return told
        return replace(told, active=False, phase="STANDBY", reason="the lease ran out, and the agent says nothing new")

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._told = Authority(reason="the client is closed")
            self._changed.notify_all()

    def disown(self) -> None:
        """In the child of a fork: no lock of the parent's can be trusted."""
        self._told = Authority(reason="this client was made before the process forked")

    def changes(self) -> Iterator[Authority]:
        """What is now, and then each change of it, also when the lease runs out while the agent is gone.

        A renewal alone is none. Ends when the client is closed.
        """
        last: Authority | None = None
        while True:
            with self._changed:
                found = self.now()
                while not self._closed and last is not None and _mark(found) == _mark(last):
                    left_ns = found.deadline_ns - _read_ns(_BOOT) if found.active else None
                    self._changed.wait(None if left_ns is None else max(left_ns, 0) / 1e9)
                    found = self.now()
                if self._closed:
                    return
            last = found
            yield found


def _mark(authority: Authority) -> Authority:
    """All but what every renewal changes."""
    return replace(authority, deadline_ns=0)
