"""Falls add up, decay and are remembered; what follows from them is bounded. Wall time throughout."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core import damping, events
from primacy_coordinator.core.model import DampingRecord, Failback, Policy, RegionSettings, RegionStatus
from primacy_coordinator.core.turn import Turn
from primacy_wire.instant import SECOND_NS

from tests.unit.core.lab import DOWN, UP, Lab
from tests.unit.core.moving import restart, rules, settled

HALF_LIFE_NS = Policy().flap_half_life_ns


def fall(lab: Lab, name: str, down_s: float = 3, up_s: float = 6) -> None:
    lab.of(name)[0].health = DOWN
    lab.run(down_s)
    lab.of(name)[0].health = UP
    lab.run(up_s)


def penalty(lab: Lab, name: str) -> float:
    assert lab.group is not None
    view = lab.group.region_view(lab.now, name)
    assert view is not None
    return view.penalty


@given(st.floats(0, 100), st.integers(0, 10**12), st.integers(0, 10**12))
def test_a_penalty_only_ever_decays(count: float, one_ns: int, more_ns: int) -> None:
    past = DampingRecord("r", count, 0)
    policy = Policy()
    assert 0 <= damping.penalty(past, one_ns + more_ns, policy) <= damping.penalty(past, one_ns, policy) <= count


def test_a_penalty_halves_in_a_half_life() -> None:
    past = DampingRecord("r", 3.0, 1_000)
    assert damping.penalty(past, 1_000 + HALF_LIFE_NS, Policy()) == 1.5
    assert damping.penalty(past, 0, Policy()) == 3.0, "a clock that went back makes no fall weigh more"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=12))
def test_falls_add_up_as_if_each_decayed_for_itself(gaps_s: list[int]) -> None:
    """The running sum against the dumb one; damped from the limit on, until below half of it."""
    lab = settled()
    assert lab.group is not None
    state = lab.group._state
    region = state.regions["us"]
    fell_ns: list[int] = []
    damped = False
    for gap_s in gaps_s:
        lab.now = lab.now.plus(gap_s * SECOND_NS)
        wall_ns = state.wall(lab.now.mono_ns)
        dumb = sum(2 ** (-(wall_ns - at_ns) / HALF_LIFE_NS) for at_ns in fell_ns)
        damped = damped and dumb >= state.policy.flap_limit / 2
        assert damping.is_damped(region.damping, wall_ns, state.policy) is damped
        damping.note_fall(state, Turn(state, lab.now), region, "it fell")
        fell_ns.append(wall_ns)
        assert damping.penalty(region.damping, wall_ns, state.policy) == pytest.approx(dumb + 1)
        damped = damped or dumb + 1 >= state.policy.flap_limit
        assert region.damping.damped is damped


def test_flapping_is_damped_until_half_of_the_limit_and_survives_a_restart() -> None:
    lab = settled(flap_limit=2.5, flap_half_life_ns=60 * SECOND_NS, hold_down_ns=0, cool_down_ns=0)
    for _ in range(3):
        fall(lab, "us")
    assert rules(lab)["us"] == "DAMPED" and "region-damped" in lab.kinds()
    restart(lab)
    lab.run(8)
    assert rules(lab)["us"] == "DAMPED"
    lab.run(90)
    assert rules(lab)["us"] == "" and "region-undamped" in lab.kinds()


def test_a_standby_that_is_suspected_fell_not_but_the_active_region_did() -> None:
    lab = settled()
    for name in ("ap", "us"):
        for other in {"ap", "eu", "us"} - {name}:
            lab.of(other)[0].sees = {"ap": True, "us": True}
    lab.of("us")[0].cut = True
    lab.run(3)
    lab.of("us")[0].cut = False
    lab.run(3)
    assert penalty(lab, "us") == 0
    lab.of("ap")[0].cut = True
    lab.run(3)
    lab.of("ap")[0].cut = False
    lab.run(1)
    assert lab.known() == ("ap", 1) and penalty(lab, "ap") == pytest.approx(1, abs=0.05)
    suspected = [e for e in lab.journal if e.kind == "region-status" and f"-> {RegionStatus.SUSPECT.name}" in e.message]
    assert {e.region for e in suspected} == {"ap", "us"}


def test_hold_down_and_cool_down_survive_a_restart_with_their_reason() -> None:
    lab = settled(hold_down_ns=60 * SECOND_NS, cool_down_ns=60 * SECOND_NS)
    fall(lab, "ap", up_s=8)
    restart(lab)
    lab.run(8)
    assert rules(lab) == {"eu": "ACTIVE", "ap": "HOLD_DOWN", "us": "COOL_DOWN"}
    assert lab.group is not None
    (held,) = [c for c in lab.group.explain(lab.now).candidates if c.region == "ap"]
    assert held.detail.startswith("it lost the lease by failure")
    lab.run(60)
    assert rules(lab) == {"eu": "ACTIVE", "ap": "", "us": ""}


def moves_while_flapping(**policy: Any) -> int:
    """The preferred region dies for two seconds and is well for six, for four minutes; failback is automatic."""
    lab = settled(failback=Failback.AUTO, **policy)
    lab.ask(events.UpdateRegion(lab.request(), "ap", RegionSettings(priority=200), ("priority",)))
    for _ in range(30):
        fall(lab, "ap", 2, 6)
    return lab.known()[1] - 1


def test_a_region_that_flaps_moves_the_lease_a_bounded_number_of_times() -> None:
    undamped: dict[str, Any] = {
        "hold_down_ns": 0,
        "cool_down_ns": 0,
        "failback_after_ns": 0,
        "stable_for_ns": SECOND_NS,
    }
    careless = moves_while_flapping(**undamped, flap_limit=1e9)
    assert careless > 20, "without any of the rules it moves there and back every time"
    limit = 3.0
    damped = moves_while_flapping(**undamped, flap_limit=limit)
    assert damped <= 2 * (limit + 1), "there and back for each fall until it is damped"
    assert moves_while_flapping() == 1


def test_nothing_is_kept_of_a_region_that_is_gone() -> None:
    lab = settled()
    fall(lab, "us", 2, 2)
    assert ("damping", "us") in lab.records
    lab.nodes["us/a1"].cut = True
    lab.run(1)
    assert lab.ask(events.DeregisterRegion(lab.request(), "us")).refusal is None
    assert ("damping", "us") not in lab.records


def test_a_policy_without_hold_down_holds_nobody_down() -> None:
    lab = settled(hold_down_ns=0, cool_down_ns=0)
    fall(lab, "ap", up_s=8)
    assert rules(lab) == {"eu": "ACTIVE", "ap": "", "us": ""}
