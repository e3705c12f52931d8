"""Both real cores together: whatever is lost, fails or restarts, every region ends with the coordinator's log (I3)."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.log_model import Durability
from primacy_coordinator.core.model import Policy
from primacy_wire.log_messages import Entry, EntryKind

from tests.unit.core.lab import Node
from tests.unit.core.log.machines import Machine
from tests.unit.core.log.replicas import SHORT, LogLab

MODEL = {"kind": EntryKind.MODEL, "content": b"", "format": "", "digest": "m", "size": 1000}


class MachineLab(LogLab):
    """A lab whose agents run the real copy of the log."""

    def __init__(self, draw: random.Random, regions: dict[str, int]) -> None:
        self.draw = draw
        self.machines: dict[str, Machine] = {}
        super().__init__(regions, Policy(**SHORT))
        self.run(6)
        assert self.known()[0] == "ap"

    def add(self, region: str, agent: str) -> Node:
        key = f"{region}/{agent}"
        self.machines.setdefault(key, Machine(self.draw))
        self.replicas[key] = self.machines[key]  # type: ignore[assignment]
        return super().add(region, agent)

    def step(self) -> None:
        for machine in self.machines.values():
            machine.work()
        super().step()


def lab_of(seed: int = 1, regions: dict[str, int] | None = None) -> MachineLab:
    return MachineLab(random.Random(seed), regions or {"ap": 1, "eu": 1, "us": 1})


def same(lab: MachineLab) -> bool:
    assert lab.group is not None
    log = lab.group._state.log
    wanted = {name: entry.id for name, entry in log.current.items()}
    return all(
        machine.received == log.head
        and {name: entry.id for name, entry in machine.force.items()} == wanted
        and not machine.replica.memory.parked
        for machine in lab.machines.values()
    )


def in_order(applied: list[Entry]) -> bool:
    """Of each key no older version is put into force after a newer one, but again after a crash."""
    newest: dict[tuple[EntryKind, str], int] = {}
    for entry in applied:
        name = entry.kind, entry.key
        if entry.sequence < newest.get(name, 0):
            return False
        newest[name] = entry.sequence
    return True


def test_documents_and_models_are_applied_in_order_everywhere() -> None:
    lab = lab_of()
    for number in range(30):
        if number % 3:
            lab.append(lab.draft(f"k{number % 4}", b"v: %d\n" % number), Durability.LOCAL)
        else:
            lab.append(lab.draft("net", **MODEL), Durability.LOCAL)
    lab.run(4)
    assert same(lab) and all(in_order(machine.applied) for machine in lab.machines.values())
    assert all(
        [entry.sequence for entry in machine.applied] == sorted(entry.sequence for entry in machine.applied)
        for machine in lab.machines.values()
    )


def test_what_fails_is_parked_with_its_key_and_goes_on_after_a_retry_in_order() -> None:
    lab = lab_of()
    eu = lab.machines["eu/a1"]
    eu.fails = 1.0
    first = lab.appended(lab.draft("a", b"v: 1\n")).sequence
    lab.run(3)
    eu.fails = 0.0
    lab.appended(lab.draft("b", b"w: 1\n"))
    lab.appended(lab.draft("a", b"v: 2\n"))
    lab.run(2)
    notes = eu.replica.memory.parked
    assert sorted(notes)[0] == first and notes[first].attempts == 3 and notes[first].reason == "the disk is full"
    assert [note.reason for note in notes.values()][1] == f"entry {first} of the same key is parked"
    assert eu.value() == {"b": b"w: 1\n"}, "other keys go on"
    assert lab.machines["us/a1"].value() == {"a": b"v: 2\n", "b": b"w: 1\n"}
    lab.ask(events.RetryEntry(lab.request(), first))
    lab.run(2)
    assert same(lab) and in_order(eu.applied)


def test_a_parked_entry_survives_a_restart_of_its_agent() -> None:
    lab = lab_of()
    eu = lab.machines["eu/a1"]
    eu.fails = 1.0
    lab.appended(lab.draft("a", b"v: 1\n"))
    lab.run(3)
    eu.fails = 0.0
    eu.restart()
    lab.restart("eu/a1")
    lab.run(2)
    assert len(eu.replica.memory.parked) == 1 and not eu.value()
    lab.ask(events.RetryEntry(lab.request()))
    lab.run(2)
    assert same(lab)


def test_what_an_older_store_forgot_is_handed_back() -> None:
    lab = lab_of()
    lab.appended(lab.draft("a", b"v: 1\n"))
    lab.run(2)
    records = dict(lab.records)
    lab.appended(lab.draft("a", b"v: 2\n"))
    lab.appended(lab.draft("c", b"w: 1\n"))
    lab.run(1)
    lab.stop()
    lab.records, lab.store_id = records, "store-2"
    lab.runs.clear()
    lab.start()
    lab.run(3)
    assert lab.group is not None
    if lab.group._state.doubt is not None:
        lab.ask(events.Recover(lab.request(), confirm=True, owner="ops"))
        lab.run(90)
    assert lab.group._state.doubt is None
    for machine in lab.machines.values():
        assert {entry.content for entry in machine.orphans} >= {b"v: 2\n", b"w: 1\n"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 50))
def test_whatever_happens_every_region_ends_with_the_same(seed: int, steps: int) -> None:
    """I3: settled in order, nothing acknowledged is lost, through crashes of either side at any time."""
    draw = random.Random(seed)
    lab = MachineLab(draw, {"ap": 1, "eu": 1, "us": 1})
    acknowledged: list[str] = []
    for number in range(steps):
        for machine in lab.machines.values():
            machine.fails, machine.slow = draw.choice([0.0, 0.0, 0.3, 1.0]), draw.choice([0.0, 0.5])
        lab.lose = {key for key in lab.nodes if draw.random() < 0.2}
        what = draw.random()
        if what < 0.6:
            kind = MODEL if draw.random() < 0.3 else {"content": b"v: %d\n" % number}
            draft = lab.draft(draw.choice("abc"), **kind)  # type: ignore[arg-type]
            reply = lab.append(draft, Durability.LOCAL)
            if reply is not None and reply.refusal is None:
                acknowledged.append(draft.id)
        elif what < 0.75:
            key = draw.choice(sorted(lab.nodes))
            lab.machines[key].restart()
            lab.restart(key)
        elif what < 0.8:
            lab.stop()
            lab.start()
        elif what < 0.85:
            lab.ask(events.RetryEntry(lab.request()))
        lab.run(draw.choice([0.1, 0.5, 1.5]))
    for machine in lab.machines.values():
        machine.fails = machine.slow = 0.0
    lab.lose = set()
    lab.run(8)
    for _ in range(4):
        lab.ask(events.RetryEntry(lab.request()))
        lab.run(2)
    assert same(lab)
    assert lab.group is not None
    assert set(acknowledged) <= set(lab.group._state.log.ids)
    for machine in lab.machines.values():
        assert machine.replica.memory.settled == machine.received and not machine.replica.memory.pending
