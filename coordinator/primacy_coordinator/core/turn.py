"""One event's worth of work: what was decided, in order, with everything to persist in front."""

from __future__ import annotations

from primacy_wire.instant import Now
from primacy_wire.messages import ToAgent

from primacy_coordinator.core.effects import (
    BrakeAsked,
    BrakeReturned,
    Changed,
    CloseReason,
    CloseSession,
    Drop,
    Effect,
    Journal,
    Persist,
    Refusal,
    Reply,
    Send,
    Severity,
    Topic,
)
from primacy_coordinator.core.model import Record
from primacy_coordinator.core.state import State


class Turn:
    """Collects the effects of one event. `unsettled` asks for a look at everything that status or time may move."""

    def __init__(self, state: State, now: Now) -> None:
        self._state = state
        self.now = now
        self.unsettled = False
        self._writes: dict[tuple[str, str], Record | Drop] = {}
        self._effects: list[Effect] = []
        self._topics: set[Topic] = set()

    @property
    def batch(self) -> int:
        """The number of the batch that this turn's writes go into."""
        return self._state.batch + 1

    def write(self, record: Record) -> None:
        """Make the record durable before any later effect."""
        self._writes[record.kind, record.key] = record

    def drop(self, kind: str, key: str) -> None:
        self._writes[kind, key] = Drop(kind, key)

    def send(self, session: int, message: ToAgent) -> None:
        self._effects.append(Send(session, message))

    def close(self, session: int, reason: CloseReason, rule: str, message: str) -> None:
        self._effects.append(CloseSession(session, reason, rule, message))

    def reply(self, request: int, value: object = None, refusal: Refusal | None = None) -> None:
        self._effects.append(Reply(request, value, refusal))

    def brake(self, effect: BrakeAsked | BrakeReturned) -> None:
        self._effects.append(effect)

    def changed(self, topic: Topic) -> None:
        self._topics.add(topic)

    def journal(
        self,
        kind: str,
        message: str,
        severity: Severity = Severity.INFO,
        region: str = "",
        epoch: int = 0,
        failover_id: str = "",
        inputs: object = None,
    ) -> None:
        self._state.journal_sequence += 1
        self._effects.append(
            Journal(
                self._state.journal_sequence,
                self.now.wall_ns,
                kind,
                severity,
                message,
                region,
                epoch,
                failover_id,
                inputs,
            )
        )

    def effects(self) -> tuple[Effect, ...]:
        """Everything decided: what must be durable first (I7)."""
        changes = tuple(Changed(topic) for topic in sorted(self._topics))
        if not self._writes:
            return (*self._effects, *changes)
        self._state.batch += 1
        return (Persist(self._state.batch, tuple(self._writes.values())), *self._effects, *changes)
