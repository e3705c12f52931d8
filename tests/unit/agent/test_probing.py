"""Rise and fall for each probe, and one verdict over all instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.probing import Look, Probe, ProbeState, merge
from primacy_wire.messages import ServiceState

GOOD, BAD, GONE = Look(True), Look(False, "answered 500"), Look(False, "connection refused", certain=True)


def after(*looks: Look, rise: int = 2, fall: int = 2) -> ProbeState:
    state = ProbeState()
    for number, look in enumerate(looks, 1):
        state = state.after(look, rise, fall, number)
    return state


@pytest.mark.parametrize(
    ("looks", "healthy"),
    [
        ((), None),
        ((GOOD,), None),
        ((GOOD, GOOD), True),
        ((BAD,), None),
        ((BAD, BAD), False),
        ((GOOD, BAD, GOOD), None),
        ((GOOD, GOOD, BAD), True),
        ((GOOD, GOOD, BAD, GOOD, BAD), True),
        ((GOOD, GOOD, BAD, BAD), False),
        ((GOOD, GOOD, GONE), False),
        ((GONE,), False),
        ((GOOD, GOOD, GONE, GOOD), False),
        ((GOOD, GOOD, GONE, GOOD, GOOD), True),
    ],
)
def test_a_verdict_changes_after_rise_or_fall_looks_in_a_row(looks: tuple[Look, ...], healthy: bool | None) -> None:
    assert after(*looks).healthy is healthy


def test_a_state_says_since_when_and_why() -> None:
    state = after(GOOD, GOOD, BAD, BAD, BAD)
    assert (state.changed_ns, state.message) == (4, "answered 500")
    assert after(GOOD, GOOD, BAD).changed_ns == 2


@given(looks=st.lists(st.sampled_from([GOOD, BAD, GONE])), rise=st.integers(1, 4), fall=st.integers(1, 4))
def test_it_agrees_with_counting_the_last_looks(looks: list[Look], rise: int, fall: int) -> None:
    verdict: bool | None = None
    for end in range(1, len(looks) + 1):
        seen = looks[:end]
        if seen[-1].certain or (len(seen) >= fall and not any(look.good for look in seen[-fall:])):
            verdict = False
        elif len(seen) >= rise and all(look.good for look in seen[-rise:]):
            verdict = True
    assert after(*looks, rise=rise, fall=fall).healthy is verdict


def probe(instance: str, healthy: bool | None, name: str = "web") -> Probe:
    return Probe(name, instance, ProbeState(healthy=healthy, message="" if healthy else "answered 500"))


@pytest.mark.parametrize(
    ("probes", "state", "healthy", "total"),
    [
        ([probe("a", True), probe("b", True)], ServiceState.UP, 2, 2),
        ([probe("a", True), probe("b", False)], ServiceState.UP, 1, 2),
        ([probe("a", False), probe("b", False)], ServiceState.DOWN, 0, 2),
        ([probe("a", None), probe("b", False)], ServiceState.STARTING, 0, 2),
        ([probe("a", True), probe("a", None)], ServiceState.STARTING, 0, 1),
        ([probe("a", True), probe("a", False)], ServiceState.DOWN, 0, 1),
        ([], ServiceState.UP, 0, 0),
    ],
)
def test_an_instance_is_healthy_when_all_its_probes_are(
    probes: list[Probe], state: ServiceState, healthy: int, total: int
) -> None:
    health = merge(probes)
    assert (health.state, health.healthy, health.total) == (state, healthy, total)


def test_the_reason_names_the_probes_that_fail() -> None:
    assert merge([probe("a", False, "gate"), probe("b", True, "web")]).reason == "gate: answered 500"
