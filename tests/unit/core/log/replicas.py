"""A model of an agent's copy of the log, simple enough to be believed, and a lab whose nodes have one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from primacy_coordinator.core import effects, events
from primacy_coordinator.core.effects import Reply
from primacy_coordinator.core.log_model import Appended, Draft, Durability
from primacy_coordinator.core.model import Policy
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import Entries, Entry, EntryKind, ParkedNote, Progress, RetryParked, chain_after

from tests.unit.core.lab import Lab, Node

SHORT: dict[str, Any] = {
    "lease_ttl_ns": 5 * SECOND_NS,
    "grace_ns": SECOND_NS,
    "first_wait_ns": SECOND_NS,
    "stable_for_ns": 3 * SECOND_NS,
}


@dataclass
class Replica:
    """Takes what fits, applies at once what it took, and says how far it has come."""

    store_id: str = ""
    received: int = 0
    chain: int = 0
    log: dict[int, Entry] = field(default_factory=dict)
    current: dict[tuple[EntryKind, str], Entry] = field(default_factory=dict)
    refuses: set[int] = field(default_factory=set)
    """Sequences that it parks."""
    parked: dict[int, ParkedNote] = field(default_factory=dict)
    stuck_at: int | None = None
    """It applies nothing beyond."""
    models: dict[str, int] = field(default_factory=dict)
    """name -> sequence of the version that it says it has applied."""
    retried: list[int] = field(default_factory=list)
    building: tuple[int, dict[tuple[EntryKind, str], Entry]] | None = None
    """A snapshot that is coming: (its position, what it has)."""
    snapshots: int = 0
    messages: int = 0

    def take(self, message: Entries | RetryParked) -> None:
        self.messages += 1
        if isinstance(message, RetryParked):
            self.retried += message.sequences
            for sequence in message.sequences:
                if sequence not in self.refuses:
                    self.parked.pop(sequence, None)
        elif message.snapshot:
            self._take_part(message)
        elif message.store_id == (self.store_id or message.store_id) and message.after <= self.received:
            self.store_id, self.building = message.store_id, None
            self._take_next(message)

    def _take_next(self, message: Entries) -> None:
        if message.upto <= self.received or (message.after == self.received and message.after_chain != self.chain):
            return
        for entry in message.entries:
            if entry.sequence > self.received:
                self._apply(entry)
                if entry.kind is not EntryKind.HEARTBEAT:
                    self.chain = chain_after(self.chain, entry.id)
        self.received = message.upto
        assert self.chain == message.upto_chain, "the log of the coordinator and this one are the same"

    def _take_part(self, message: Entries) -> None:
        if message.after == 0:
            self.building = (0, {})
        if self.building is None or message.after != self.building[0]:
            return
        found = self.building[1] | {(entry.kind, entry.key): entry for entry in message.entries}
        self.building = (message.upto, found)
        if message.upto == message.snapshot_upto:
            self.store_id, self.received, self.chain = message.store_id, message.upto, message.upto_chain
            self.current, self.building = found, None
            self.parked.clear()
            self.log = {entry.sequence: entry for entry in found.values()}
            self.snapshots += 1

    def _apply(self, entry: Entry) -> None:
        self.log[entry.sequence] = entry
        if entry.kind is EntryKind.HEARTBEAT:
            return
        behind = any(note.key == entry.key for note in self.parked.values())
        if entry.sequence in self.refuses or behind:
            self.parked[entry.sequence] = ParkedNote(entry.sequence, entry.key, "the disk is full", 8)
        else:
            self.current[entry.kind, entry.key] = entry

    def progress(self, incarnation: str) -> Progress:
        received, chain = (self.received, self.chain) if self.building is None else (self.building[0], 0)
        settled = self.received if self.stuck_at is None else min(self.stuck_at, self.received)
        return Progress(
            incarnation,
            self.store_id,
            received,
            chain,
            settled,
            tuple(self.parked[key] for key in sorted(self.parked)),
            models=tuple(sorted(self.models.items())),
        )

    def value(self) -> dict[str, bytes]:
        return {entry.key: entry.content for entry in self.current.values() if not entry.removed}


class LogLab(Lab):
    """A lab whose agents keep the log; `lose` says what does not arrive."""

    def __init__(self, regions: dict[str, int], policy: Policy | None = None) -> None:
        self.replicas: dict[str, Replica] = {}
        self.lose: set[str] = set()
        """Keys of agents that get no entries."""
        self.mute: set[str] = set()
        """Keys of agents that say no progress."""
        super().__init__(regions, policy or Policy(**SHORT))
        self.drafts = 0

    def add(self, region: str, agent: str) -> Node:
        self.replicas.setdefault(f"{region}/{agent}", Replica())
        return super().add(region, agent)

    def _perform(self, found: tuple[effects.Effect, ...]) -> None:
        taken: list[str] = []
        for effect in found:
            if isinstance(effect, effects.Send) and isinstance(effect.message, Entries | RetryParked):
                for key, node in self.nodes.items():
                    if node.session == effect.session and not node.cut and key not in self.lose:
                        self.replicas[key].take(effect.message)
                        taken.append(key)
        super()._perform(found)
        for key in taken:
            self.say(key)

    def report(self, node: Node) -> None:
        super().report(node)
        self.say(f"{node.holder.region}/{node.holder.agent}")

    def say(self, key: str) -> None:
        """The agent says how far it has come."""
        node = self.nodes[key]
        if node.session is None or node.cut or self.group is None or key in self.mute:
            return
        message = self.replicas[key].progress(node.holder.incarnation)
        self._perform(self.group.handle(self.now, events.Heard(node.session, message)))

    # ---- writes

    def draft(self, key: str = "app.yaml", content: bytes = b"a: 1\n", origin: str = "ap", **more: Any) -> Draft:
        self.drafts += 1
        current = None if self.group is None else self.group._state.log.current.get((EntryKind.CONFIG, key))
        usual: dict[str, Any] = {
            "id": f"w{self.drafts}",
            "kind": EntryKind.CONFIG,
            "digest": "d",
            "size": len(content),
            "parent": current.sequence if current is not None else 0,
            "time_wall_ns": self.now.wall_ns,
            "time_counter": self.drafts,
            "epoch": self.known()[1],
            "agent": f"{origin}/a1",
            "format": "yaml",
        }
        return Draft(**{**usual, "key": key, "content": content, "origin": origin, **more})

    def append(self, draft: Draft, durability: Durability | None = None, if_version: int | None = None) -> Reply | None:
        """The reply, if it came at once."""
        number = self.request()
        assert self.group is not None
        self._perform(self.group.handle(self.now, events.Append(number, draft, durability, if_version)))
        return self.replies.get(number)

    def appended(self, draft: Draft, durability: Durability | None = None, if_version: int | None = None) -> Appended:
        reply = self.append(draft, durability, if_version)
        if reply is None:
            number = self.requests
            self.run(0.2)  # What follows closely goes out together.
            reply = self.replies[number]
        assert reply.refusal is None, reply.refusal
        assert isinstance(reply.value, Appended)
        return reply.value

    def refused(self, draft: Draft, **how: Any) -> str:
        reply = self.append(draft, **how)
        assert reply is not None and reply.refusal is not None
        return reply.refusal.rule

    def values(self) -> list[dict[str, bytes]]:
        return [replica.value() for replica in self.replicas.values()]


def settled(regions: dict[str, int] | None = None, keys: Iterable[str] = (), **policy: Any) -> LogLab:
    """`ap` is active at epoch 1, and everybody keeps the log."""
    lab = LogLab(regions or {"ap": 1, "eu": 1, "us": 1}, Policy(**{**SHORT, **policy}))
    lab.run(6)
    assert lab.known() == ("ap", 1)
    for key in keys:
        lab.appended(lab.draft(key))
    return lab
