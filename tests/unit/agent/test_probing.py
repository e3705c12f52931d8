"""Rise and fall for each probe, and one verdict over all instances."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.probing import NOT_OWED, OWED, Look, Probe, ProbeState, Verdicts, Watched, merge
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


def test_a_look_that_comes_too_early_changes_no_verdict_and_no_count() -> None:
    early = Look(True, "known after the next look", early=True)
    assert after(early, early, early).healthy is None
    assert after(BAD, early, BAD).healthy is False
    assert after(GOOD, GOOD, BAD, early).message == "known after the next look"


# ---- smoke probes

WEB, DEEP = Watched("web", rise=1), Watched("deep", smoke=True)


def verdicts(*watched: Watched, recovering: bool = False) -> Verdicts:
    return Verdicts(watched, recovering)


def look(them: Verdicts, name: str, what: Look) -> None:
    them.take(name, what, 1, them.wanted(name))


def test_smoke_probes_say_nothing_before_the_instance_was_down() -> None:
    them = verdicts(WEB, DEEP)
    assert them.wanted("deep") is None
    look(them, "web", GOOD)
    assert them.wanted("deep") is None
    assert (them.health().state, them.health().healthy, them.health().total) == (ServiceState.UP, 1, 1)
    assert them.state("deep") == ProbeState(message=NOT_OWED)


def test_an_instance_that_was_down_is_up_when_each_smoke_probe_passed_once() -> None:
    them = verdicts(WEB, DEEP, Watched("write", smoke=True, rise=3))
    look(them, "web", GONE)
    assert them.wanted("deep") is None, "not while the others fail"
    look(them, "web", GOOD)
    health = them.health()
    assert (health.state, health.healthy) == (ServiceState.DOWN, 0)
    assert health.reason == f"deep: {OWED}; write: {OWED}"
    look(them, "deep", BAD)
    assert them.state("deep").healthy is False
    assert them.health().reason == f"deep: answered 500; write: {OWED}"
    look(them, "deep", GOOD)
    look(them, "write", Look(True, early=True))
    assert (them.wanted("deep"), them.state("deep").healthy) == (None, True)
    assert them.health().reason == f"write: {OWED}"
    look(them, "write", GOOD)
    assert them.health().state is ServiceState.UP
    look(them, "web", BAD)
    assert them.wanted("deep") is None, "one bad look is no fall"
    look(them, "web", BAD)
    assert them.state("deep") == ProbeState(message=OWED, changed_ns=1), "owed again"


def test_a_smoke_look_of_an_earlier_recovery_does_not_count() -> None:
    them = verdicts(WEB, DEEP)
    look(them, "web", GONE)
    look(them, "web", GOOD)
    began = them.wanted("deep")
    look(them, "web", GONE)
    them.take("deep", GOOD, 1, began)
    assert them.state("deep").healthy is None
    look(them, "web", GOOD)
    them.take("deep", GOOD, 1, began)
    assert them.health().state is ServiceState.DOWN
    look(them, "deep", GOOD)
    assert them.health().state is ServiceState.UP


def test_after_a_boot_smoke_probes_are_owed_from_the_start() -> None:
    them = verdicts(WEB, DEEP, recovering=True)
    assert them.health().state is ServiceState.STARTING
    look(them, "web", GOOD)
    assert them.health().state is ServiceState.DOWN
    look(them, "deep", GOOD)
    assert them.health().state is ServiceState.UP


def test_instances_owe_for_themselves_and_advisory_probes_are_only_shown() -> None:
    them = verdicts(
        WEB,
        DEEP,
        Watched("other", "b", rise=1),
        Watched("page", advisory=True),
        Watched("alone", "c", advisory=True),
    )
    for name in ("web", "other"):
        look(them, name, GOOD)
    look(them, "page", GONE)
    assert (them.health().healthy, them.health().total) == (2, 2)
    look(them, "other", GONE)
    look(them, "other", GOOD)
    assert (them.health().healthy, them.health().total) == (2, 2)
    look(them, "web", GONE)
    look(them, "web", GOOD)
    assert (them.health().state, them.health().healthy, them.health().reason) == (ServiceState.UP, 1, f"deep: {OWED}")


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["web", "gate", "deep", "write"]),
            st.sampled_from([GOOD, BAD, GONE, Look(True, early=True)]),
        ),
        max_size=40,
    ),
    recovering=st.booleans(),
)
def test_nothing_is_up_that_owes_a_smoke_probe(steps: list[tuple[str, Look]], recovering: bool) -> None:
    normal = {"web": 1, "gate": 2}
    smoke = ("deep", "write")
    them = verdicts(
        *(Watched(name, rise=need, fall=need) for name, need in normal.items()),
        *(Watched(name, smoke=True) for name in smoke),
        recovering=recovering,
    )
    passed = set() if recovering else set(smoke)
    states = dict.fromkeys(normal, ProbeState())
    for name, what in steps:
        wanted = them.wanted(name)
        look(them, name, what)
        if name in normal:
            before, states[name] = states[name], states[name].after(what, normal[name], normal[name], 1)
            if before.healthy is not False and states[name].healthy is False:
                passed = set()
        elif wanted is not None and what.good and not what.early:
            passed.add(name)
        well = all(state.healthy for state in states.values())
        assert all((them.wanted(each) is not None) == (well and each not in passed) for each in smoke)
        assert (them.health().healthy == 1) == (well and passed == set(smoke))
        assert (them.health().state is ServiceState.UP) == (them.health().healthy == 1)
