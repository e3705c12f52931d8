"""The coordinator suspects itself: when, what waits, what does not, and for how long."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import events
from primacy_coordinator.core.model import Policy, RegionStatus
from primacy_coordinator.core.views import SelfDoubtView
from primacy_wire.instant import SECOND_NS

from tests.unit.core.lab import DOWN, UP, Lab

POLICY = Policy(
    lease_ttl_ns=5 * SECOND_NS,
    grace_ns=SECOND_NS,
    first_wait_ns=SECOND_NS,
    stable_for_ns=3 * SECOND_NS,
    doubt_max_ns=10 * SECOND_NS,
)


def settled(regions: dict[str, int] | None = None, **policy: object) -> Lab:
    lab = Lab(regions or {"ap": 1, "eu": 1, "us": 1}, replace(POLICY, **policy))  # type: ignore[arg-type]
    lab.run(8)
    assert lab.known() == ("ap", 1)
    return lab


def doubt(lab: Lab) -> SelfDoubtView | None:
    assert lab.group is not None
    return lab.group.view(lab.now).self_doubt


def status(lab: Lab, name: str) -> RegionStatus:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, name)
    assert view is not None
    return view.verdict.status


def stall(lab: Lab, length_ns: int) -> None:
    assert lab.group is not None
    lab.now = lab.now.plus(length_ns)
    lab._perform(lab.group.handle(lab.now, events.Stalled(length_ns)))


def test_a_stall_is_doubted_until_half_of_the_agents_are_heard_again() -> None:
    lab = settled()
    stall(lab, 4 * SECOND_NS)
    found = doubt(lab)
    assert found is not None and found.name == "STALLED" and found.remaining_ns == 10 * SECOND_NS
    lab.run(1.2)
    assert doubt(lab) is None and "self-doubt-ended" in lab.kinds()
    assert lab.known() == ("ap", 1)


def test_a_short_stall_is_not_doubted() -> None:
    lab = settled()
    stall(lab, SECOND_NS)
    assert doubt(lab) is None


def test_verdicts_and_elections_wait_and_renewals_do_not() -> None:
    lab = settled({"ap": 1, "eu": 2, "us": 2})
    for name in ("eu", "us"):
        for node in lab.of(name):
            node.cut = True
    lab.run(8)
    found = doubt(lab)
    assert found is not None and found.name == "SESSIONS_LOST" and 0 < found.remaining_ns < 3 * SECOND_NS
    well = {RegionStatus.HEALTHY, RegionStatus.DEGRADED}
    assert status(lab, "eu") in well and status(lab, "us") in well
    assert lab.known() == ("ap", 1) and lab.active() == {"ap"}, "its lease of 5 s was renewed all the while"
    lab.run(8)
    assert doubt(lab) is None and status(lab, "eu") is RegionStatus.DOWN


def test_a_region_on_its_way_back_is_not_judged_by_silence_that_may_be_ours() -> None:
    lab = settled(stable_for_ns=60 * SECOND_NS)
    lab.of("us")[0].health = DOWN
    lab.run(1.5)
    lab.of("us")[0].health = UP
    lab.run(1.5)
    assert status(lab, "us") is RegionStatus.RECOVERING
    for name in ("eu", "us"):
        lab.of(name)[0].cut = True
    lab.run(6)
    assert doubt(lab) is not None and status(lab, "us") is RegionStatus.RECOVERING


def test_what_a_region_says_of_itself_counts_in_doubt_too() -> None:
    """Also where some of its agents are among the lost."""
    lab = settled({"ap": 2, "eu": 1, "us": 1})
    for key in ("ap/a2", "eu/a1", "us/a1"):
        lab.nodes[key].cut = True
    lab.run(3)
    assert doubt(lab) is not None
    lab.nodes["ap/a1"].health = DOWN
    lab.run(3)
    assert doubt(lab) is not None and status(lab, "ap") is RegionStatus.DOWN


def test_losses_one_after_the_other_are_not_doubted() -> None:
    lab = settled()
    lab.of("us")[0].cut = True
    lab.run(4)
    lab.of("eu")[0].cut = True
    lab.run(4)
    assert "self-doubt-began" not in lab.kinds()


def test_the_only_agent_of_a_group_is_no_reason_to_doubt() -> None:
    lab = settled({"ap": 1})
    lab.of("ap")[0].cut = True
    lab.run(4)
    assert "self-doubt-began" not in lab.kinds()


def test_a_doubt_that_peers_end_at_once_does_not_begin_again() -> None:
    lab = settled({"ap": 1, "eu": 2, "us": 2})
    lab.of("ap")[0].sees = {"eu": False, "us": False}
    for name in ("eu", "us"):
        for node in lab.of(name):
            node.cut = True
    lab.run(4)
    assert lab.kinds().count("self-doubt-began") == lab.kinds().count("self-doubt-ended") == 1
    assert status(lab, "eu") is status(lab, "us") is RegionStatus.DOWN


def test_what_was_doubted_once_is_not_doubted_again() -> None:
    lab = settled()
    for name in ("eu", "us"):
        lab.of(name)[0].cut = True
    lab.run(40)
    assert lab.kinds().count("self-doubt-began") == lab.kinds().count("self-doubt-ended") == 1


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sets(st.integers(0, 4)), st.integers(1, 40)), min_size=1, max_size=8))
def test_a_doubt_has_an_end_whatever_is_cut(cuts: list[tuple[set[int], int]]) -> None:
    """No doubt lasts longer than the policy allows, and none begins for fewer than two lost agents."""
    lab = settled({"ap": 2, "eu": 2, "us": 1})
    nodes = list(lab.nodes.values())
    for cut, tenths in cuts:
        for number, node in enumerate(nodes):
            node.cut = number in cut
        for _ in range(tenths):
            lab.run(0.1)
            found = doubt(lab)
            assert found is None or 0 < found.remaining_ns <= 10 * SECOND_NS
            assert len(lab.active()) <= 1
    began = [entry for entry in lab.journal if entry.kind == "self-doubt-began"]
    ended = [entry for entry in lab.journal if entry.kind == "self-doubt-ended"]
    for first, last in zip(began, ended, strict=False):
        assert last.wall_ns - first.wall_ns <= 10 * SECOND_NS + SECOND_NS // 5
    if all(len(cut) < 2 for cut, _ in cuts) and len(cuts) == 1:
        assert not began
