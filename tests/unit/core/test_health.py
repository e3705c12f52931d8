"""Verdicts: who is believed, and when. Each case is a row of evidence and the verdict it must give."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.health import AgentEvidence, HealthInput, Vote, judge
from primacy_coordinator.core.model import RegionStatus
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import ServiceState

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
    return AgentEvidence(f"eu/{name}", connected, int(silence_s * SECOND_NS), state, good, total, "", deaf)


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
        # Silence is not death while peers see it, or while it may be us.
        (S.SUSPECT, {"agents": (GONE,)}),
        (S.SUSPECT, {"agents": (agent(silence_s=3),)}),
        (S.SUSPECT, {"agents": (agent(silence_s=9, connected=False),), "votes": votes(True, "us", "ap")}),
        (S.SUSPECT, {"agents": (agent(deaf=True),), "votes": votes(True, "us")}),
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
        # Recovery.
        (S.RECOVERING, {"agents": (agent(),), "previous": S.DOWN}),
        (S.RECOVERING, {"agents": (agent(),), "previous": S.RECOVERING, "recovering": True, "well_ns": SECOND_NS}),
        (S.RECOVERING, {"agents": (agent(),), "previous": S.SUSPECT, "recovering": True}),
        (S.HEALTHY, {"agents": (agent(),), "previous": S.RECOVERING, "recovering": True, "well_ns": 10 * SECOND_NS}),
        # A coordinator that has just started knows what it knew.
        (S.DOWN, {"agents": (GONE,), "previous": S.DOWN, "restored": True}),
        (S.HEALTHY, {"agents": (GONE,), "restored": True}),
        (S.DOWN, {"agents": (agent(connected=False, silence_s=5),), "restored": True}),
    ],
)
def test_a_verdict(expected: RegionStatus, values: dict[str, object]) -> None:
    assert judge(replace(PLAIN, **values)).status is expected  # type: ignore[arg-type]


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
