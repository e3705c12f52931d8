"""Writes into the log: once, in order, durable as asked, never under an epoch that is not in force."""

from __future__ import annotations

import pytest
from primacy_coordinator.core import events
from primacy_coordinator.core.log_model import AppendOutcome, Durability
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import Entry, EntryKind

from tests.unit.core.lab import DOWN
from tests.unit.core.log.replicas import LogLab, settled

MODEL = {"kind": EntryKind.MODEL, "content": b"", "format": "", "digest": "m", "size": 1000}


def kept(lab: LogLab) -> list[Entry]:
    assert lab.group is not None
    return [record.entry for record in lab.group._state.log.records.values() if record.entry.key]


def test_an_entry_reaches_every_region() -> None:
    lab = settled()
    found = lab.appended(lab.draft("app.yaml", b"a: 1\n"))
    assert (found.version, found.outcome, found.at_risk) == (1, AppendOutcome.APPENDED, False)
    assert lab.values() == [{"app.yaml": b"a: 1\n"}] * 3


def test_numbers_have_no_gaps_and_versions_count_for_each_key() -> None:
    lab = settled()
    first = [lab.appended(lab.draft(key)) for key in ("a", "b", "a", "a")]
    assert [one.version for one in first] == [1, 1, 2, 3]
    start = first[0].sequence
    assert [one.sequence for one in first] == [start, start + 1, start + 2, start + 3]


def test_the_same_id_happens_once_and_gets_the_same_answer() -> None:
    lab = settled()
    draft = lab.draft()
    first = lab.appended(draft)
    assert lab.appended(draft) == first
    lab.stop()
    lab.start()
    lab.run(2)
    assert lab.appended(draft) == first, "also after a restart"
    assert len(kept(lab)) == 1


def test_nothing_is_told_before_it_is_durable() -> None:
    """I7: neither the caller nor any agent hears of an entry that a crash would forget."""
    lab = settled()
    lab.hold_disk = True
    assert lab.append(lab.draft(), Durability.LOCAL) is not None, "the reply is an effect behind the write"
    assert lab.group is not None
    assert all(not value for value in lab.values())
    lab.hold_disk = False
    lab.stop()
    lab.start()
    lab.run(2)
    assert kept(lab) == [] and lab.values() == [{}] * 3


def test_an_append_waits_for_another_region() -> None:
    lab = settled()
    lab.lose = {"eu/a1", "us/a1"}
    draft = lab.draft()
    assert lab.append(draft) is None
    number = lab.requests
    lab.lose = {"eu/a1"}
    lab.run(3)
    assert lab.replies[number].refusal is None, "one other region is enough"


def test_an_append_that_is_local_is_answered_at_once_and_said_to_be_at_risk() -> None:
    lab = settled()
    lab.lose = {"eu/a1", "us/a1"}
    found = lab.appended(lab.draft(), Durability.LOCAL)
    assert found.at_risk


def test_without_another_region_the_entry_stays_and_is_at_risk() -> None:
    lab = settled({"ap": 2})
    draft = lab.draft()
    assert lab.refused(draft) == "AT_RISK"
    assert len(kept(lab)) == 1
    lab.add("eu", "a1")
    lab.run(3)
    assert not lab.appended(draft).at_risk, "the same id again waits anew"
    assert len(kept(lab)) == 1


def test_who_waits_hears_when_the_last_other_region_goes() -> None:
    lab = settled({"ap": 1, "eu": 1})
    lab.lose = {"eu/a1"}
    assert lab.append(lab.draft()) is None
    number = lab.requests
    lab.of("eu")[0].cut = True
    lab.run(2)
    assert number not in lab.replies, "a link that comes back costs no writer an error"
    lab.run(8)
    refusal = lab.replies[number].refusal
    assert refusal is not None and refusal.rule == "AT_RISK"
    assert lab.refused(lab.draft()) == "AT_RISK", "who was not heard for long is not waited for"


def test_who_waits_for_too_long_is_told() -> None:
    lab = settled({"ap": 1, "eu": 1})
    lab.mute = {"eu/a1"}
    lab.lose = {"eu/a1"}
    assert lab.append(lab.draft()) is None
    number = lab.requests
    lab.run(29)
    assert number not in lab.replies
    lab.run(3)
    refusal = lab.replies[number].refusal
    assert refusal is not None and refusal.rule == "AT_RISK"


def test_who_does_not_wait_any_more_is_forgotten_and_the_entry_is_not() -> None:
    lab = settled()
    lab.lose = {"eu/a1", "us/a1"}
    assert lab.append(lab.draft()) is None
    number = lab.requests
    assert lab.group is not None
    lab._perform(lab.group.handle(lab.now, events.AppendAbandoned(number)))
    lab.lose = set()
    lab.run(4)
    assert number not in lab.replies and lab.values() == [{"app.yaml": b"a: 1\n"}] * 3


# ---- epochs


def test_an_epoch_that_was_never_granted_is_refused() -> None:
    lab = settled()
    assert lab.refused(lab.draft(epoch=7)) == "FUTURE_EPOCH"
    assert kept(lab) == []


def test_a_model_of_an_epoch_that_is_over_is_refused() -> None:
    """I4."""
    lab = settled()
    lab.of("ap")[0].health = DOWN
    lab.run(4)
    assert lab.known() == ("eu", 2)
    assert lab.refused(lab.draft("net", epoch=1, **MODEL)) == "STALE_EPOCH"
    assert lab.appended(lab.draft("net", epoch=2, origin="eu", **MODEL)).version == 1
    assert [entry.by_active for entry in kept(lab)] == [True]


@pytest.mark.parametrize(("if_version", "taken"), [(0, False), (1, True), (2, False)])
def test_compare_and_set(if_version: int, taken: bool) -> None:
    lab = settled(keys=["app.yaml"])
    draft = lab.draft("app.yaml", b"a: 2\n")
    if taken:
        assert lab.appended(draft, if_version=if_version).version == 2
    else:
        assert lab.refused(draft, if_version=if_version) == "VERSION_MISMATCH"
        assert len(kept(lab)) == 1


def test_nothing_goes_in_while_a_planned_move_waits_for_the_log() -> None:
    lab = settled(keys=["a"])
    lab.hold_disk = True
    lab.moved("eu")
    assert lab.refused(lab.draft("a")) == "FROZEN"


# ---- heartbeats


def test_the_active_region_gives_a_sign_of_life_in_an_idle_log() -> None:
    lab = settled()
    assert lab.group is not None
    log = lab.group._state.log
    before = log.head
    lab.run(10)
    assert 8 <= log.head - before <= 11
    assert len(log.records) == 1, "of consecutive heartbeats only the newest is kept"
    assert all(replica.received == log.head for replica in lab.replicas.values())
    beat = log.records[log.head].entry
    assert (beat.kind, beat.origin, beat.epoch) == (EntryKind.HEARTBEAT, "ap", 1)


def test_a_busy_log_needs_no_heartbeats() -> None:
    lab = settled()
    before = lab.appended(lab.draft("a")).sequence
    for _ in range(20):
        lab.run(0.5)
        lab.appended(lab.draft("a"))
    assert lab.group is not None and lab.group._state.log.head == before + 20


def test_a_log_without_signs_of_life_is_stalled_and_said_to_be() -> None:
    lab = settled(stall_after_ns=4 * SECOND_NS)
    assert lab.group is not None
    lab.group._state.log.quiet = True
    lab.run(6)
    assert lab.kinds().count("replication-stalled") == 1 and lab.group._state.log.stalled_since_ns is not None
    lab.group._state.log.quiet = False
    lab.run(3)
    assert lab.kinds().count("replication-resumed") == 1


def test_the_silence_of_a_coordinator_that_was_away_is_its_own() -> None:
    lab = settled(stall_after_ns=4 * SECOND_NS)
    lab.run(2)
    lab.stop()
    lab.now = lab.now.plus(60 * SECOND_NS)
    lab.start()
    lab.run(10)
    assert "replication-stalled" not in lab.kinds()


def test_a_store_that_refused_a_batch_is_not_asked_every_second() -> None:
    lab = settled()
    lab.stop()
    lab.refused_before = True
    lab.start()
    assert lab.group is not None
    head = lab.group._state.log.head
    lab.run(8)
    assert lab.group._state.log.head == head, "no heartbeat before another batch was taken"
    lab.appended(lab.draft("a"))
    lab.run(5)
    assert lab.group._state.log.head > head + 2
