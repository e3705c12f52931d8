"""How an alert comes and goes, against a second and deliberately dumb account of the same. [I9]"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.alerts.evaluate import (
    ELAPSED_NS_MAX,
    UNKNOWN_NS_MAX,
    AlertState,
    Life,
    Sight,
    Step,
    Timing,
    decide,
)
from primacy_wire.instant import SECOND_NS

PENDING, FIRING, RESOLVED = AlertState
HOLDS, GONE, UNKNOWN = Sight
S = SECOND_NS
TIMING = Timing(3 * S, 4 * S)


def run(sights: list[Sight], timing: Timing = TIMING, elapsed_ns: int = S) -> list[AlertState | None]:
    life: Life | None = None
    states: list[AlertState | None] = []
    for sight in sights:
        life = decide(Step(life, sight, timing, elapsed_ns))
        states.append(None if life is None else life.state)
    return states


@pytest.mark.parametrize(
    ("sights", "states"),
    [
        ([GONE, GONE], [None, None]),
        ([UNKNOWN], [None]),
        ([HOLDS] * 4, [PENDING, PENDING, PENDING, FIRING]),
        ([HOLDS, HOLDS, GONE, HOLDS], [PENDING, PENDING, None, PENDING]),
        ([HOLDS, HOLDS, UNKNOWN, HOLDS, HOLDS], [PENDING, PENDING, PENDING, PENDING, FIRING]),
        ([HOLDS] * 4 + [GONE] * 4, [PENDING] * 3 + [FIRING] * 4 + [RESOLVED]),
        ([HOLDS] * 4 + [GONE] * 3 + [HOLDS] + [GONE] * 4, [PENDING] * 3 + [FIRING] * 8 + [RESOLVED]),
        ([HOLDS] * 4 + [GONE] * 4 + [GONE, UNKNOWN, HOLDS], [PENDING] * 3 + [FIRING] * 4 + [RESOLVED] * 3 + [PENDING]),
    ],
)
def test_how_an_alert_comes_and_goes(sights: list[Sight], states: list[AlertState | None]) -> None:
    assert run(sights) == states


def test_without_a_length_it_fires_at_once() -> None:
    assert run([HOLDS], Timing(0, S)) == [FIRING]


def test_what_nobody_looked_at_counts_for_little() -> None:
    """A coordinator that stood still for an hour neither fires nor resolves by that."""
    hour_ns = 3600 * S
    assert run([HOLDS, HOLDS], Timing(30 * S, 30 * S), hour_ns) == [PENDING, PENDING]
    life = decide(Step(Life(FIRING), GONE, Timing(0, 30 * S), hour_ns))
    assert life is not None and life.state is FIRING and life.gone_ns == ELAPSED_NS_MAX
    assert decide(Step(Life(PENDING), HOLDS, Timing(S, S), -hour_ns)) == Life(PENDING)


def test_what_is_unknown_for_long_is_gone() -> None:
    looks = UNKNOWN_NS_MAX // S
    states = run([HOLDS] * 4 + [UNKNOWN] * (looks + 10))
    assert states[3 : 3 + looks] == [FIRING] * looks and states[-1] is RESOLVED
    assert run([HOLDS, *[UNKNOWN] * (looks + 1)])[-1] is None


LENGTHS = st.integers(0, 6).map(lambda seconds: seconds * S)


@given(st.lists(st.sampled_from([HOLDS, GONE, UNKNOWN]), max_size=60), LENGTHS, LENGTHS)
def test_it_fires_and_resolves_exactly_when_it_should(sights: list[Sight], for_ns: int, keep_ns: int) -> None:
    """The dumb twin counts runs of looks; what is unknown is as if nobody had looked."""
    known: list[Sight] = []
    state: AlertState | None = None
    states = run(sights, Timing(for_ns, keep_ns))
    for sight, got in zip(sights, states, strict=True):
        if sight is not UNKNOWN:
            known.append(sight)
            holding = next((n for n, one in enumerate(reversed(known)) if one is GONE), len(known))
            missing = next((n for n, one in enumerate(reversed(known)) if one is HOLDS), len(known))
            if state is FIRING:
                state = RESOLVED if missing and missing * S >= keep_ns else FIRING
            elif sight is HOLDS:
                begun = 1 if state in (None, RESOLVED) else holding
                if state in (None, RESOLVED):
                    known = [HOLDS]
                state = FIRING if (begun - 1) * S >= for_ns else PENDING
            elif state is PENDING:
                state = None
        assert got == state


@given(st.lists(st.sampled_from([HOLDS, GONE, UNKNOWN]), max_size=60), LENGTHS, LENGTHS)
def test_deciding_again_gives_the_same(sights: list[Sight], for_ns: int, keep_ns: int) -> None:
    life: Life | None = None
    for sight in sights:
        step = Step(life, sight, Timing(for_ns, keep_ns), S)
        life = decide(step)
        assert decide(step) == life
