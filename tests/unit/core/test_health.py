"""Verdicts: who is believed, and when. Each case is a row of evidence and the verdict it must give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.health import AgentEvidence, HealthInput, Vote, judge
from primacy_coordinator.core.model import Policy, RegionStatus
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import ServiceState

from tests.unit.core.lab import Lab

S = RegionStatus
PLAIN = HealthInput("eu", S.HEALTHY, "", 60 * SECOND_NS, False, False, 0, (), (), SECOND_NS, 10 * SECOND_NS, 1)


def agent(
    name: str = "a1",
    state: ServiceState | None = ServiceState.UP,
    silence_s: float = 0.1,
    connected: bool = True,
    healthy: int = 1,
    total: int = 1,
    deaf: bool = False,
) -> AgentEvidence:
    good = healthy if state is ServiceState.UP else 0
    known = total if state is not None else 0
    return AgentEvidence(f"eu/{name}", connected, int(silence_s * SECOND_NS), state, good, known, "", deaf)


def votes(reached: bool, *regions: str, age_s: float = 0.5, agents: bool = False) -> tuple[Vote, ...]:
    return tuple(Vote(f"{r}/a1", r, "eu/a1" if agents else "", reached, int(age_s * SECOND_NS)) for r in regions)


GONE = agent(connected=False)
UP, DOWN, STARTING = ServiceState.UP, ServiceState.DOWN, ServiceState.STARTING


@pytest.mark.parametrize(
    ("expected", "values"),
    [
        (S.HEALTHY, {"agents": (agent(),)}),
        (S.HEALTHY, {"agents": (agent(),), "previous": S.JOINING}),
        (S.DEGRADED, {"agents": (agent(), agent("a2", DOWN))}),
        (S.DEGRADED, {"agents": (agent(healthy=1, total=2),)}),
        (S.DEGRADED, {"agents": (agent(), agent("a2", connected=False))}),
        (S.DOWN, {"agents": (agent(state=DOWN),)}),
        (S.DOWN, {"agents": (agent(), agent("a2", DOWN)), "agents_healthy_min": 2}),
        (S.UNKNOWN, {"agents": (), "previous": S.UNKNOWN}),
        (S.JOINING, {"agents": (agent(state=STARTING),), "previous": S.UNKNOWN}),
        (S.JOINING, {"agents": (agent(state=None),), "previous": S.UNKNOWN}),
        # An agent that restarts says nothing of its service.
        (S.SUSPECT, {"agents": (agent(state=None),)}),
        (S.SUSPECT, {"agents": (agent(state=STARTING),), "previous": S.SUSPECT, "since_ns": SECOND_NS}),
        (S.JOINING, {"agents": (agent(state=STARTING),), "previous": S.SUSPECT, "since_ns": 60 * SECOND_NS}),
        (S.DOWN, {"agents": (agent(state=STARTING),), "previous": S.DOWN}),
        (S.SUSPECT, {"agents": (agent(), agent("a2", STARTING)), "agents_healthy_min": 2}),
        (S.SUSPECT, {"agents": (agent(state=DOWN), agent("a2", STARTING))}),
        (S.DOWN, {"agents": (agent(state=DOWN), agent("a2", STARTING)), "previous": S.SUSPECT}),
        # One of two agents that are needed restarts: it is neither dead nor counted on for ever.
        (S.SUSPECT, {"agents": (agent(), agent("a2", connected=False)), "agents_healthy_min": 2}),
        (S.SUSPECT, {"agents": (agent(), agent("a2", silence_s=3)), "agents_healthy_min": 2}),
        (S.DOWN, {"agents": (agent(), agent("a2", silence_s=5)), "agents_healthy_min": 2}),
        (S.DOWN, {"agents": (agent(), agent("a2", DOWN, connected=False)), "agents_healthy_min": 2}),
        (S.DOWN, {"agents": (agent(), agent("a2", connected=False)), "agents_healthy_min": 2, "previous": S.SUSPECT}),
        (
            S.DOWN,
            {"agents": (agent(state=DOWN), agent("a2", connected=False)), "votes": votes(False, "us")},
        ),
        (S.JOINING, {"agents": (agent(),), "agents_healthy_min": 2, "previous": S.UNKNOWN}),
        (S.DOWN, {"agents": (agent(),), "agents_healthy_min": 2, "previous": S.DOWN}),
        # Silence is not death while peers see it, or while it may be us.
        (S.SUSPECT, {"agents": (GONE,)}),
        (S.SUSPECT, {"agents": (agent(silence_s=3),)}),
        (S.SUSPECT, {"agents": (agent(silence_s=9, connected=False),), "votes": votes(True, "us", "ap")}),
        (S.SUSPECT, {"agents": (agent(deaf=True),), "votes": votes(True, "us")}),
        (S.DOWN, {"agents": (agent(deaf=True),), "votes": votes(False, "us")}),
        (S.DOWN, {"agents": (agent(silence_s=5),)}),
        (S.DOWN, {"agents": (agent(silence_s=5, connected=False),), "votes": votes(True, "us", age_s=9)}),
        # Nobody reaches it and its session is gone: no need to wait.
        (S.DOWN, {"agents": (GONE,), "votes": votes(False, "us", "ap")}),
        (S.SUSPECT, {"agents": (GONE,), "votes": votes(False, "us") + votes(True, "ap")}),
        # The endpoint outweighs the agents.
        (S.SUSPECT, {"agents": (GONE,), "votes": votes(True, "us") + votes(False, "us", "ap", agents=True)}),
        (S.DOWN, {"agents": (GONE,), "votes": votes(False, "us") + votes(True, "ap", agents=True)}),
        # The way in is broken.
        (S.DEGRADED, {"agents": (agent(),), "votes": votes(False, "us", "ap")}),
        (S.HEALTHY, {"agents": (agent(),), "votes": votes(False, "us")}),
        (S.HEALTHY, {"agents": (agent(),), "votes": votes(False, "us") + votes(False, "ap", age_s=9)}),
        # Recovery.
        (S.RECOVERING, {"agents": (agent(),), "previous": S.DOWN}),
        (S.RECOVERING, {"agents": (agent(),), "previous": S.RECOVERING, "recovering": True, "well_ns": SECOND_NS}),
        (S.RECOVERING, {"agents": (agent(),), "previous": S.SUSPECT, "recovering": True}),
        (S.HEALTHY, {"agents": (agent(),), "previous": S.RECOVERING, "recovering": True, "well_ns": 10 * SECOND_NS}),
        # A coordinator that has just started knows what it knew.
        (S.DOWN, {"agents": (GONE,), "previous": S.DOWN, "restored": True}),
        (S.HEALTHY, {"agents": (GONE,), "restored": True}),
        (S.DOWN, {"agents": (agent(connected=False, silence_s=5),), "restored": True}),
        (S.HEALTHY, {"agents": (agent(state=None),), "restored": True}),
        (S.UNKNOWN, {"agents": (), "restored": True}),
        (S.HEALTHY, {"agents": (agent(), agent("a2", None, connected=False))}),
        (S.DEGRADED, {"agents": (agent(), agent("a2", None, connected=False, silence_s=5))}),
    ],
)
def test_a_verdict(expected: RegionStatus, values: dict[str, object]) -> None:
    assert judge(replace(PLAIN, **values)).status is expected  # type: ignore[arg-type]


def test_a_reason_is_true_of_its_evidence() -> None:
    few = judge(replace(PLAIN, agents=(agent(), agent("a2", silence_s=5)), agents_healthy_min=2))
    assert few.reason == "1 of 2 agents needed are up", "the agent that is up is not the one to blame"
    deaf = judge(replace(PLAIN, agents=(agent(deaf=True),)))
    assert deaf.reason == "its agents report, but do not hear the coordinator"
    stale = judge(replace(PLAIN, agents=(agent(silence_s=5),), votes=votes(True, "us", age_s=60)))
    assert not any("us/a1" in fact for fact in stale.evidence), "what was not counted is no evidence"


def test_a_restarted_coordinator_changes_no_verdict() -> None:
    """Regions of one and of two agents: their agents come back one by one, and none of that is news of a service."""
    lab = Lab({"eu": 1, "us": 2})
    lab.run(12)
    known = len(lab.journal)
    assert lab.kinds().count("region-status") >= 2
    lab.stop()
    lab.run(1)
    lab.start()
    lab.run(12)
    assert [entry.message for entry in lab.journal[known:] if entry.kind == "region-status"] == []


def test_restarting_one_of_two_agents_that_are_needed_moves_nothing() -> None:
    """The policy asks for two agents; one restarts within the time that silence is granted."""
    lab = Lab(
        {"eu": 2, "us": 2},
        Policy(grace_ns=SECOND_NS // 2, first_wait_ns=SECOND_NS, stable_for_ns=0, agents_healthy_min=2),
    )
    lab.run(12)
    (active, epoch) = lab.known()
    lab.nodes[f"{active}/a1"].cut = True
    lab.run(2.5)
    lab.nodes[f"{active}/a1"].cut = False
    lab.run(10)
    assert lab.known() == (active, epoch)
    # But an agent that stays away is lost, and with it the region.
    lab.nodes[f"{active}/a1"].cut = True
    lab.run(20)
    assert lab.known()[0] not in ("", active)


AGENTS = st.builds(
    AgentEvidence,
    agent=st.sampled_from(["eu/a1", "eu/a2"]),
    connected=st.booleans(),
    silence_ns=st.integers(0, 10 * SECOND_NS),
    state=st.none() | st.sampled_from(ServiceState),
    healthy=st.integers(0, 2),
    total=st.integers(0, 2),
    reason=st.just(""),
    deaf=st.booleans(),
)
INPUTS = st.builds(
    HealthInput,
    region=st.just("eu"),
    previous=st.sampled_from(RegionStatus),
    previous_reason=st.just("before"),
    since_ns=st.integers(0, 100 * SECOND_NS),
    restored=st.booleans(),
    recovering=st.booleans(),
    well_ns=st.integers(0, 20 * SECOND_NS),
    agents=st.lists(AGENTS, max_size=3).map(tuple),
    votes=st.lists(
        st.builds(
            Vote,
            observer=st.just("us/a1"),
            observer_region=st.sampled_from(["us", "ap"]),
            target_agent=st.sampled_from(["", "eu/a1"]),
            reachable=st.booleans(),
            age_ns=st.integers(0, 5 * SECOND_NS),
        ),
        max_size=3,
    ).map(tuple),
    report_interval_ns=st.just(SECOND_NS),
    stable_for_ns=st.just(10 * SECOND_NS),
    agents_healthy_min=st.integers(1, 2),
)


@given(INPUTS)
def test_what_is_stale_never_shows_as_healthy(given_: HealthInput) -> None:
    fresh = any(a.connected and not a.deaf and a.silence_ns < 2.5 * SECOND_NS and a.state is UP for a in given_.agents)
    verdict = judge(given_)
    if not fresh and not given_.restored:
        assert verdict.status not in (S.HEALTHY, S.DEGRADED, S.RECOVERING)
    assert verdict.reason or given_.restored
    assert verdict.recheck_ns is None or verdict.recheck_ns > 0


@given(INPUTS)
def test_a_verdict_is_stable_under_its_own_evidence(given_: HealthInput) -> None:
    """Judging again at once, from what was just decided, changes nothing: no verdict flips by itself."""
    first = judge(given_)
    again = judge(
        replace(
            given_,
            previous=first.status,
            previous_reason=first.reason,
            since_ns=0,
            recovering=given_.recovering or first.status in (S.DOWN, S.RECOVERING),
        )
    )
    if first.status not in (S.HEALTHY, S.DEGRADED, S.SUSPECT, S.JOINING):
        assert again.status is first.status


def aged(given_: HealthInput, length_ns: int) -> HealthInput:
    """The same evidence, looked at later."""
    return replace(
        given_,
        since_ns=given_.since_ns + length_ns,
        well_ns=given_.well_ns + length_ns,
        agents=tuple(replace(a, silence_ns=a.silence_ns + length_ns) for a in given_.agents),
        votes=tuple(replace(v, age_ns=v.age_ns + length_ns) for v in given_.votes),
    )


@given(INPUTS, st.floats(0, 1, exclude_max=True))
def test_who_keeps_still_is_dead_in_the_end(given_: HealthInput, share: float) -> None:
    """Following `recheck_ns` alone, with no word from anybody, no region stays well and no look comes too late."""
    limit_ns = 40 * SECOND_NS
    while limit_ns > 0:
        verdict = judge(given_)
        if verdict.status in (S.HEALTHY, S.DEGRADED) and not given_.restored:
            assert verdict.recheck_ns is not None
            before = aged(replace(given_, previous=verdict.status), int(verdict.recheck_ns * share))
            if not given_.votes:
                assert judge(before).status is verdict.status, "nothing changes before the next look"
        if verdict.recheck_ns is None:
            break
        given_ = aged(replace(given_, previous=verdict.status, previous_reason=verdict.reason), verdict.recheck_ns)
        limit_ns -= verdict.recheck_ns
    assert judge(given_).status in (S.DOWN, S.UNKNOWN)
