"""Writes that did not know of each other: what each policy makes of them, against a model that is easy to believe."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from primacy_coordinator.core import events
from primacy_coordinator.core.log_model import (
    Appended,
    AppendOutcome,
    ConflictPolicy,
    ConflictRecord,
    ConflictState,
    Draft,
    Durability,
)
from primacy_coordinator.core.model import Policy
from primacy_wire.instant import SECOND_NS

from tests.unit.core.lab import DOWN, UP
from tests.unit.core.log.replicas import SHORT, LogLab, settled
from tests.unit.core.log.test_machines import MachineLab
from tests.unit.wire import dumb_merging

AHEAD_NS = 10 * SECOND_NS
REGIONS = ("ap", "eu", "us")
KEYS = ("app.json", "own/b.json")
"""The second one may have a policy of its own."""


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def read(content: bytes) -> Any:
    return json.loads(content)


def draft_of(lab: LogLab, key: str, document: Any, **more: Any) -> Draft:
    content = b"" if document is None else encoded(document)
    usual = {"format": "json", "removed": document is None, "digest": blake3(content).hexdigest()}
    return lab.draft(key, content, **{**usual, **more})


def conflicts_of(lab: LogLab) -> dict[str, ConflictRecord]:
    assert lab.group is not None
    return lab.group._state.log.conflicts


# ---- the model


@dataclass(frozen=True)
class Version:
    sequence: int
    document: Any
    """None: removed."""
    time: tuple[int, int, str]
    epoch: int
    by_active: bool

    @property
    def rank(self) -> tuple[int, bool, tuple[int, int, str]]:
        return self.epoch, self.by_active, self.time


def outcome_of(
    policy: ConflictPolicy, base: Version | None, current: Version | None, new: Version
) -> tuple[AppendOutcome, Any]:
    """What the documents promise, said again: (outcome, the document in force afterwards)."""
    in_force = current.document if current is not None else None
    if current is None:
        return AppendOutcome.WON, new.document
    if policy is ConflictPolicy.REJECT:
        return AppendOutcome.LOST, in_force
    if policy is ConflictPolicy.MANUAL:
        return AppendOutcome.OPEN, in_force
    if policy is ConflictPolicy.MERGE and base is not None:
        three = base.document, current.document, new.document
        if all(document is not None for document in three):
            return AppendOutcome.MERGED, dumb_merging.merge(*three, new.time > current.time)[0]
    won = new.rank > current.rank if policy is ConflictPolicy.ACTIVE_WINS else new.time > current.time
    return (AppendOutcome.WON, new.document) if won else (AppendOutcome.LOST, in_force)


@dataclass
class Key:
    versions: list[Version] = field(default_factory=list)

    @property
    def current(self) -> Version | None:
        return self.versions[-1] if self.versions else None

    def known(self, sequence: int) -> Version | None:
        return next((version for version in self.versions if version.sequence == sequence), None)


VALUES = st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(0, 2), st.just({"x": 1})), max_size=3)


class Conflicts(RuleBasedStateMachine):
    """Writers in three regions, with old and new knowledge, under epochs that are in force or over; operators decide;
    the coordinator restarts. After each step every region has what the model says, and nobody's content is lost (I5).
    """

    @initialize(seed=st.integers(0, 1 << 32), policy=st.sampled_from(ConflictPolicy))
    def begin(self, seed: int, policy: ConflictPolicy) -> None:
        self.lab = MachineLab(random.Random(seed), dict.fromkeys(REGIONS, 1))
        self.keys = {key: Key() for key in KEYS}
        self.written: list[tuple[Draft, Any]] = []
        self.policies = dict.fromkeys(KEYS, ConflictPolicy.LAST_WRITER_WINS)
        self.choose(policy, None)

    @rule(policy=st.sampled_from(ConflictPolicy), own=st.one_of(st.none(), st.sampled_from(ConflictPolicy)))
    def choose(self, policy: ConflictPolicy, own: ConflictPolicy | None) -> None:
        """The longest prefix decides."""
        special = (("own/", own), ("o", ConflictPolicy.REJECT)) if own is not None else ()
        chosen = Policy(**SHORT, conflict_policy=policy, conflict_policies=special)
        assert self.lab.ask(events.SetPolicy(self.lab.request(), chosen)).refusal is None
        self.policies = {KEYS[0]: policy, KEYS[1]: own or policy}

    @rule(
        key=st.sampled_from(KEYS),
        document=st.one_of(VALUES, VALUES, VALUES, st.none()),
        age=st.integers(0, 2),
        region=st.sampled_from(REGIONS),
        drift_s=st.sampled_from([-5, 0, 0, 5, 60]),
        old_epoch=st.sampled_from([False, False, False, True]),
    )
    def write(self, key: str, document: Any, age: int, region: str, drift_s: int, old_epoch: bool) -> None:
        """`age`: how many versions its writer has missed."""
        known = self.keys[key].versions
        parent = known[-1 - age].sequence if age < len(known) else 0
        active, epoch = self.lab.known()
        draft = draft_of(
            self.lab,
            key,
            document,
            origin=region,
            parent=parent,
            agent=f"{region}/a1",
            epoch=epoch - old_epoch,
            time_wall_ns=self.lab.now.wall_ns + drift_s * SECOND_NS,
        )
        self._write(draft, document, active, epoch)

    def _write(self, draft: Draft, document: Any, active: str, epoch: int) -> None:
        key = self.keys[draft.key]
        current = key.current
        time = draft.time_wall_ns, draft.time_counter, draft.agent
        latest = self.lab.now.wall_ns + AHEAD_NS
        if time[0] > latest:
            time = latest, 0, draft.agent
        new = Version(0, document, time, draft.epoch, draft.epoch == epoch and draft.origin == active)
        meets = draft.epoch < epoch or (current is not None and draft.parent != current.sequence)
        before = set(conflicts_of(self.lab))
        reply = self.lab.append(draft, Durability.LOCAL)
        assert reply is not None
        self.written.append((draft, reply.value))
        if not meets:
            wanted, in_force = AppendOutcome.APPENDED, document
        else:
            wanted, in_force = outcome_of(self.policies[draft.key], key.known(draft.parent), current, new)
        assert len(set(conflicts_of(self.lab)) - before) == meets, "I4: nothing enters silently"
        if meets and self.policies[draft.key] is ConflictPolicy.REJECT and current is not None:
            assert reply.refusal is not None and reply.refusal.rule == "CONFLICT"
            return
        assert reply.refusal is None and isinstance(reply.value, Appended)
        assert reply.value.outcome is wanted
        if wanted in (AppendOutcome.LOST, AppendOutcome.OPEN):
            assert reply.value.sequence == 0
            return
        if wanted is AppendOutcome.MERGED and current is not None:
            time = (*max(current.time, new.time)[:2], draft.agent)
        key.versions.append(Version(reply.value.sequence, in_force, time, draft.epoch, new.by_active))

    @precondition(lambda self: self.written)
    @rule(data=st.data())
    def say_again(self, data: st.DataObject) -> None:
        """An answer that was lost: the same id, also after a restart, changes nothing and is answered alike."""
        draft, answer = data.draw(st.sampled_from(self.written))
        reply = self.lab.append(draft, Durability.LOCAL)
        assert reply is not None
        if isinstance(answer, Appended):
            assert isinstance(reply.value, Appended)
            assert replace(reply.value, at_risk=answer.at_risk) == answer, "but by now it may be safe"

    @precondition(lambda self: conflicts_of(self.lab))
    @rule(data=st.data(), take=st.sampled_from(["current", "incoming", "content"]), document=VALUES)
    def decide(self, data: st.DataObject, take: str, document: Any) -> None:
        conflict = data.draw(
            st.sampled_from(sorted(conflicts_of(self.lab).values(), key=lambda found: found.created_wall_ns))
        )
        key = self.keys[conflict.entry_key]
        content = encoded(document)
        command = events.ResolveConflict(
            self.lab.request(), conflict.id, take, content, blake3(content).hexdigest(), owner="ann", reason="looked"
        )
        reply = self.lab.ask(command)
        assert reply.refusal is None and isinstance(reply.value, ConflictRecord)
        decided = reply.value
        assert decided.state is ConflictState.RESOLVED
        if take == "current":
            chosen = conflict.current.content if conflict.current and not conflict.current.removed else None
        elif take == "incoming":
            chosen = None if conflict.incoming.removed else conflict.incoming.content
        else:
            chosen = content
        wanted = None if chosen is None else read(chosen)
        if decided.result:
            record = self.lab.group._state.log.records[decided.result].entry  # type: ignore[union-attr]
            time = record.time.wall_ns, record.time.counter, record.time.node
            assert all(time > other.time for other in key.versions[-1:]), "a decision is later than what it decides"
            key.versions.append(Version(decided.result, wanted, time, record.epoch, record.by_active))
        assert key.current is None or key.current.document == wanted

    @rule()
    def restart(self) -> None:
        self.lab.stop()
        self.lab.start()
        self.lab.run(3)

    @rule()
    def fail_over(self) -> None:
        """The epoch that writers know is over then."""
        active, epoch = self.lab.known()
        node = self.lab.of(active)[0]
        node.health = DOWN
        self.lab.run(4)
        assert self.lab.known()[1] > epoch
        node.health = UP
        self.lab.run(4)

    @rule()
    def wait(self) -> None:
        self.lab.run(1)

    @invariant()
    def everybody_has_what_the_model_says(self) -> None:
        if not hasattr(self, "lab"):
            return
        self.lab.run(0.5)
        wanted = {
            name: key.current.document
            for name, key in self.keys.items()
            if key.current is not None and key.current.document is not None
        }
        for name, machine in self.lab.machines.items():
            assert {key: read(content) for key, content in machine.value().items()} == wanted, name

    @invariant()
    def what_was_written_can_be_read(self) -> None:
        """I5."""
        if not hasattr(self, "lab"):
            return
        assert self.lab.group is not None
        readable = {(record.entry.key, record.entry.content) for record in self.lab.group._state.log.records.values()}
        for conflict in conflicts_of(self.lab).values():
            readable |= {(conflict.entry_key, conflict.incoming.content)}
            if conflict.current is not None:
                readable |= {(conflict.entry_key, conflict.current.content)}
        assert {(draft.key, draft.content) for draft, _ in self.written} <= readable


Conflicts.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestConflicts = Conflicts.TestCase


# ---- keys that cannot be beside each other


@pytest.mark.parametrize(("first", "second"), [("a", "a/b/c"), ("a/b/c", "a"), ("a/b/c", "a/b")])
def test_a_key_that_is_the_beginning_of_another_is_kept_and_never_in_force(first: str, second: str) -> None:
    """No region could keep both, so none is asked to."""
    lab = settled()
    lab.appended(lab.draft(first, b"v: 1\n"))
    assert lab.refused(lab.draft(second), if_version=0) == "KEY_TAKEN"
    assert not conflicts_of(lab), "who asked for all or nothing has it"
    draft = lab.draft(second, b"v: 2\n")
    assert lab.refused(draft) == lab.refused(draft) == "KEY_TAKEN"
    (conflict,) = conflicts_of(lab).values()
    assert (conflict.cause, conflict.state) == ("KEY_TAKEN", ConflictState.REJECTED)
    assert conflict.incoming.content == b"v: 2\n", "I5"
    take = events.ResolveConflict(lab.request(), conflict.id, "incoming")
    assert lab.ask(take).refusal.rule == "KEY_TAKEN"  # type: ignore[union-attr]
    lab.stop()
    lab.start()
    lab.run(2)
    assert lab.refused(lab.draft(second)) == "KEY_TAKEN", "also after a restart"
    lab.appended(lab.draft(first, b"", removed=True))
    assert lab.ask(replace(take, request=lab.request())).refusal is None
    lab.run(1)
    assert lab.values() == [{second: b"v: 2\n"}] * 3
    assert lab.refused(lab.draft(first)) == "KEY_TAKEN"
    lab.appended(lab.draft(f"{second}.2", b"v: 3\n"))
    lab.appended(lab.draft(second[0] + "2", b"v: 3\n"))


# ---- whatever the order of arrival


def raced(policy: ConflictPolicy, order: tuple[int, ...], documents: list[Any], regions: list[str]) -> Any:
    """One base, and a write from each of three regions that knows only it; they arrive in that order."""
    lab = settled(conflict_policy=policy)
    key = KEYS[0]
    base = lab.appended(draft_of(lab, key, {"a": 0, "b": 0, "c": 0})).sequence
    drafts = [
        draft_of(
            lab, key, document, origin=region, agent=f"{region}/a1", parent=base, time_wall_ns=lab.now.wall_ns + number
        )
        for number, (document, region) in enumerate(zip(documents, regions, strict=True))
    ]
    for number in order:
        lab.append(drafts[number], Durability.LOCAL)
        lab.run(0.1)
    lab.run(1)
    values = lab.values()
    assert values == [values[0]] * 3
    return read(values[0][key])


ALL = [{"a": 1, "b": 0, "c": 0}, {"a": 0, "b": 1, "c": 0}, {"a": 0, "b": 0, "c": 1}]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize(
    ("policy", "regions", "wanted"),
    [
        (ConflictPolicy.LAST_WRITER_WINS, ["ap", "eu", "us"], ALL[2]),
        (ConflictPolicy.ACTIVE_WINS, ["ap", "eu", "us"], ALL[0]),
        (ConflictPolicy.ACTIVE_WINS, ["eu", "us", "eu"], ALL[2]),
        (ConflictPolicy.MERGE, ["ap", "eu", "us"], {"a": 1, "b": 1, "c": 1}),
    ],
)
def test_the_order_of_arrival_decides_nothing(
    policy: ConflictPolicy, regions: list[str], wanted: Any, order: tuple[int, ...]
) -> None:
    """I3. `ap` is active."""
    # The first to arrive knows the base, and so is no conflict: every other one meets what is in force.
    assert raced(policy, order, ALL, regions) == wanted


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_where_both_changed_a_field_the_later_one_is_merged_in(order: tuple[int, ...]) -> None:
    both = [{"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 2, "c": 2}]
    assert raced(ConflictPolicy.MERGE, order, both, ["ap", "eu"]) == {"a": 1, "b": 2, "c": 2}
