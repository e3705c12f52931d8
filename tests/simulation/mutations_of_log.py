"""Deliberate mistakes in the log: each drops one rule of how it is sequenced, brought and put into force."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from primacy_agent.core.replica import replica, taking
from primacy_coordinator.core.log import appending, conflicts, streaming
from primacy_coordinator.core.state import State

from tests.simulation.mutating import mutation, swap


@mutation
def fingerprints_are_not_compared(stack: ExitStack) -> None:
    """Same numbers count as the same log, whatever store was put back (I3)."""
    swap(
        stack,
        streaming,
        "is_prefix",
        lambda _: (
            lambda state, progress: (
                progress.store_id in ("", state.store_id) and progress.received <= state.log.durable_head
            )
        ),
    )
    swap(stack, replica.taking, "chain_after", lambda _: lambda chain, entry_id: 0)


@mutation
def a_stale_epoch_is_taken(stack: ExitStack) -> None:
    """What was written under an epoch that is over enters like any other (I4)."""

    def make(old: Any) -> Any:
        def cause(state: State, draft: Any, certain: bool) -> str:
            found = old(state, draft, certain)
            return "" if found == "STALE_EPOCH" else str(found)

        return cause

    swap(stack, appending, "_cause", make)


@mutation
def what_lost_is_not_kept(stack: ExitStack) -> None:
    """A conflict tells that there was another write, and not what it said (I5)."""

    def make(old: Any) -> Any:
        def keep(state: State, turn: Any, conflict: Any) -> None:
            old(state, turn, replace(conflict, incoming=replace(conflict.incoming, content=b"")))

        return keep

    swap(stack, conflicts, "_keep", make)


@mutation
def a_repeated_append_happens_again(stack: ExitStack) -> None:
    """An id that is in the log already is no reason to leave it out."""

    def make(old: Any) -> Any:
        def append(state: State, turn: Any, command: Any) -> None:
            state.log.ids.pop(command.draft.id, None)
            state.log.conflict_of.pop(command.draft.id, None)
            old(state, turn, command)

        return append

    swap(stack, appending, "append", make)


@mutation
def entries_are_settled_in_any_order(stack: ExitStack) -> None:
    """The newest entry is put into force first (I3)."""

    def make(_: Any) -> Any:
        def newest(self: Any) -> Any:
            found = max((sequence for sequence in self.memory.pending if sequence > self.memory.settled), default=None)
            return self.memory.pending[found] if found is not None else None

        return newest

    swap(stack, replica.Replica, "_next", make)


@mutation
def a_parked_entry_holds_nothing_back(stack: ExitStack) -> None:
    """Later versions of its key overtake it, and it then overwrites them (I3)."""
    swap(stack, replica.Replica, "_blocker", lambda _: lambda self, entry: None)


@mutation
def what_the_log_lost_is_not_written_again(stack: ExitStack) -> None:
    """What was in force before an older store was put back stays so here, and nowhere else (I3)."""
    swap(stack, taking, "_orphans", lambda _: lambda memory, building: ())
