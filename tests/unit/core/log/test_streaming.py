"""However messages get lost, and whatever becomes of stores: every agent ends with the log of its coordinator."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.log import compaction, streaming
from primacy_coordinator.core.log_model import Durability
from primacy_wire.log_messages import EntryKind

from tests.unit.core.log.replicas import LogLab, Replica, settled


def same(lab: LogLab) -> bool:
    """Everybody has what the coordinator has."""
    assert lab.group is not None
    log = lab.group._state.log
    wanted = {entry.key: entry.content for entry in log.current.values() if not entry.removed}
    return all(
        replica.received == log.head and replica.chain == log.head_chain and replica.value() == wanted
        for replica in lab.replicas.values()
    )


def test_what_was_lost_is_sent_again() -> None:
    lab = settled(keys=["a"])
    lab.lose = {"eu/a1"}
    for number in range(20):
        lab.appended(lab.draft("a", b"v: %d\n" % number))
    assert lab.replicas["eu/a1"].value() == {"a": b"a: 1\n"}
    lab.lose = set()
    lab.run(5)
    assert same(lab) and lab.replicas["eu/a1"].snapshots == 0


def test_no_more_than_the_window_is_on_its_way() -> None:
    lab = settled()
    lab.mute = {"eu/a1"}
    for number in range(800):
        lab.append(lab.draft(f"k{number}"), Durability.LOCAL)
    lab.run(0.5)
    sent = max(session.log.sent for session in lab.group._state.sessions.values() if session.region == "eu")  # type: ignore[union-attr]
    assert sent <= streaming.WINDOW_ENTRIES + streaming.MESSAGE_ENTRIES_MAX + 10
    lab.mute = set()
    lab.run(6)
    assert same(lab)


def test_documents_go_out_in_messages_of_a_bounded_size() -> None:
    lab = settled()
    lab.lose = {"eu/a1"}
    for number in range(12):
        lab.append(lab.draft(f"k{number}", bytes(200_000)), Durability.LOCAL)
    lab.lose = set()
    before = lab.replicas["eu/a1"].messages
    lab.run(8)
    assert same(lab) and lab.replicas["eu/a1"].messages - before >= 4


def test_a_new_agent_of_an_old_group_gets_a_snapshot_when_the_log_does_not_begin_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compaction, "ENTRIES_KEPT", 50)
    monkeypatch.setattr(compaction, "SLACK", 10)
    monkeypatch.setattr(compaction, "VERSIONS_KEPT", 2)
    lab = settled()
    for number in range(200):
        lab.append(lab.draft(f"k{number % 7}", b"v: %d\n" % number), Durability.LOCAL)
        lab.run(0.1)
    assert lab.group is not None
    log = lab.group._state.log
    assert log.floor > 100 and len(log.order) < 90
    lab.add("sa", "a1")
    lab.run(5)
    assert lab.replicas["sa/a1"].snapshots == 1 and same(lab)
    lab.appended(lab.draft("k1", b"v: new\n"))
    lab.run(2)
    assert same(lab)
    lab.stop()
    lab.start()
    lab.run(6)
    assert same(lab), "what was compacted away is not missed after a restart"


def test_who_is_far_behind_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ENTRIES_KEPT", 50), ("SLACK", 10), ("VERSIONS_KEPT", 1), ("BEHIND_MAX", 40)):
        monkeypatch.setattr(compaction, name, value)
    lab = settled(keys=["a"])
    lab.lose = {"us/a1"}
    for number in range(70):
        lab.append(lab.draft("a", b"v: %d\n" % number), Durability.LOCAL)
        lab.run(0.1)
    assert lab.group is not None and lab.group._state.log.floor < 30, "it is waited for"
    for number in range(120):
        lab.append(lab.draft("a", b"w: %d\n" % number), Durability.LOCAL)
        lab.run(0.1)
    assert lab.group._state.log.floor > 60
    lab.lose = set()
    lab.run(6)
    assert same(lab) and lab.replicas["us/a1"].snapshots == 1


def test_a_snapshot_comes_in_parts_and_is_begun_again_when_some_are_lost() -> None:
    lab = settled()
    for number in range(40):
        lab.append(lab.draft(f"k{number}", bytes(100_000)), Durability.LOCAL)
        lab.run(0.1)
    lab.replicas["us/a1"] = Replica(store_id="another", received=5, chain=17)
    draw = random.Random(3)
    for _ in range(40):
        lab.lose = {"us/a1"} if draw.random() < 0.4 else set()
        lab.run(0.4)
    lab.lose = set()
    lab.run(8)
    assert same(lab) and lab.replicas["us/a1"].snapshots >= 1


def test_a_log_that_went_another_way_is_told_by_its_fingerprint() -> None:
    """The same numbers, another history: an older store was put back, and went on."""
    lab = settled(keys=["a", "b"])
    records = dict(lab.records)
    for number in range(5):
        lab.appended(lab.draft("a", b"lost: %d\n" % number))
    lab.stop()
    lab.records = records
    lab.start()
    assert lab.group is not None
    assert not lab.group._state.doubt, "no agent has said yet what it heard"
    for number in range(9):
        lab.append(lab.draft("b", b"new: %d\n" % number), Durability.LOCAL)
    lab.run(10)
    log = lab.group._state.log
    if lab.group._state.doubt is None:
        assert same(lab) and {r.snapshots for r in lab.replicas.values()} == {1}
    else:
        assert log.head >= 0


def test_parked_entries_are_told_of_and_tried_again_on_demand() -> None:
    lab = settled(keys=["a"])
    assert lab.group is not None
    head = lab.group._state.log.head
    lab.replicas["eu/a1"].refuses = {head + 1}
    sequence = lab.appended(lab.draft("a", b"v: 2\n")).sequence
    assert sequence == head + 1
    lab.appended(lab.draft("a", b"v: 3\n"))
    lab.run(1)
    assert lab.kinds().count("entry-parked") == 2, "the next one of the key waits behind it"
    assert lab.ask(events.RetryEntry(lab.request(), 99)).refusal is not None
    reply = lab.ask(events.RetryEntry(lab.request(), sequence, "eu"))
    assert (reply.value.regions, reply.value.entries) == (("eu",), 1)  # type: ignore[attr-defined]
    assert lab.replicas["eu/a1"].retried == [sequence]


def test_a_parked_document_is_on_the_disk_of_its_parker_and_a_parked_model_is_not() -> None:
    lab = settled({"ap": 1, "eu": 1})
    assert lab.group is not None
    lab.replicas["eu/a1"].refuses = {lab.group._state.log.head + 1, lab.group._state.log.head + 2}
    assert not lab.appended(lab.draft()).at_risk, "it came with its entry"
    assert lab.append(lab.draft("net", kind=EntryKind.MODEL, content=b"", format="", digest="m", size=1000)) is None
    lab.run(1)
    assert lab.requests not in lab.replies


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 60))
def test_whatever_gets_lost_everybody_ends_with_the_log(draw: random.Random, steps: int) -> None:
    """I3, with restarts of the coordinator, of agents, and of sessions at any time."""
    lab = settled()
    kinds = (EntryKind.CONFIG, EntryKind.MODEL)
    for number in range(steps):
        lab.lose = {key for key in lab.nodes if draw.random() < 0.3}
        lab.mute = {key for key in lab.nodes if draw.random() < 0.2}
        what = draw.random()
        if what < 0.6:
            content = b"v: %d\n" % number
            lab.append(lab.draft(draw.choice("abc"), content, kind=draw.choice(kinds)), Durability.LOCAL)
        elif what < 0.7:
            key = draw.choice(sorted(lab.nodes))
            lab.restart(key)
        elif what < 0.75:
            lab.stop()
            lab.start()
        elif what < 0.8:
            lab.hold_disk = not lab.hold_disk
            if not lab.hold_disk:
                lab.stop()
                lab.start()
        lab.run(draw.choice([0.1, 0.4, 1.5]))
    if lab.hold_disk:
        lab.hold_disk = False
        lab.stop()
        lab.start()
    lab.lose, lab.mute = set(), set()
    lab.run(12)
    assert same(lab)
    assert lab.group is not None
    sequences = [entry.sequence for entry in sorted(lab.replicas["ap/a1"].log.values(), key=lambda e: e.sequence)]
    assert sequences == sorted(set(sequences)), "I3: in order, once"


@pytest.mark.parametrize("room", [1 << 30, 2_000])
def test_below_the_floor_exactly_the_newest_versions_of_each_name_stay(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """`room` for old versions: plenty, or none, so that only the current ones stay."""
    for name, value in (("ENTRIES_KEPT", 50), ("SLACK", 10), ("VERSIONS_KEPT", 3), ("BYTES_KEPT_MAX", room)):
        monkeypatch.setattr(compaction, name, value)
    lab, draw = settled(), random.Random(7)
    for number in range(300):
        lab.append(
            lab.draft(f"k{min(int(draw.expovariate(0.3)), 40)}", b"v: %d\n" % number + b"#" * 90), Durability.LOCAL
        )
        lab.run(draw.choice((0.0, 0.1, 1.5)))
        if number == 150:
            lab.stop()
            lab.start()
    lab.run(5)
    assert lab.group is not None
    log = lab.group._state.log
    entries = [log.records[sequence].entry for sequence in log.order]
    assert log.heartbeats == [entry.sequence for entry in entries if entry.kind is EntryKind.HEARTBEAT]
    assert log.floor > 200 and log.kept_bytes == sum(len(entry.content) for entry in entries)
    newest: dict[str, list[int]] = {}
    for entry in entries:
        if entry.kind is EntryKind.CONFIG:
            newest.setdefault(entry.key, []).append(entry.sequence)
    kept = 1 if log.tight else 3
    assert log.tight == (room == 2_000)
    for entry in entries:
        if entry.sequence <= log.floor:
            assert entry.sequence in newest[entry.key][-kept:]
    assert {key for (_, key) in log.current} - {""} == newest.keys()
    assert same(lab)
