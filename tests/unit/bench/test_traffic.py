"""The traffic simulation: what it rests on, and one small run."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from bench import traffic
from bench.traffic_figures import Figures, Tally
from bench.traffic_policies import ByLoad, Checks, Spill
from bench.traffic_world import INSTANCES, SERVICE_S, SITES, STEP_S, Ground, Service


def ground() -> Ground:
    return Ground(SITES, 1, 0.0, 0.0, 0.0)


def run_service(service: Service, rate: float, seconds: float) -> float:
    """Returns the share of requests that it did not serve in the last step."""
    lost = 0.0
    for _ in range(round(seconds / STEP_S)):
        lost = service.step(rate, 0.0)
    return lost


def test_a_region_gets_slower_as_it_fills_up_and_sheds_what_is_above_its_capacity() -> None:
    service = Service(1000.0)
    assert run_service(service, 500.0, 20.0) == 0.0
    assert service.latency_s == pytest.approx(2 * SERVICE_S, rel=0.01)
    assert run_service(service, 1250.0, 20.0) == pytest.approx(0.2)
    assert service.utilisation == pytest.approx(1.25, rel=0.01)
    load = service.load(0.0, 0.0, random.Random(1))
    assert load.utilisation == pytest.approx(1.0) and load.request_rate == pytest.approx(1250, rel=0.01)
    assert load.error_rate == pytest.approx(0.2, rel=0.05)
    service.instances_well = INSTANCES // 2
    assert run_service(service, 1250.0, 20.0) == pytest.approx(0.6)
    service.is_down = True
    assert run_service(service, 1250.0, STEP_S) == 1.0


def test_an_instance_is_given_up_and_taken_back_after_two_looks() -> None:
    checks, found = Checks(), []
    for well in (10, 0, 10, 0, 0, 6, 0, 10, 10):
        checks.look(well)
        found.append(checks.healthy)
    assert found == [10, 10, 10, 10, 0, 0, 0, 0, 10]


def test_a_level_overflows_as_the_documentation_of_envoy_says() -> None:
    """Half of the nearest level is healthy: it keeps 70 %. Levels that have less than 100 together are scaled up."""
    balancer = Spill(ground(), 1)
    nearest = balancer.nearest("eu")
    balancer.checks["eu", "eu"].healthy = 5
    assert balancer.decide("eu") == {"eu": 0.7, nearest[1]: 0.3}
    balancer.checks["eu", "eu"].healthy = 8
    assert balancer.decide("eu") == {"eu": 1.0}
    for name in nearest:
        balancer.checks["eu", name].healthy = 0
    assert balancer.decide("eu") == {"eu": 1.0}
    balancer.checks["eu", nearest[1]].healthy = 2
    balancer.checks["eu", nearest[2]].healthy = 3
    # 28 and 42 of 70.
    assert balancer.decide("eu") == {nearest[1]: 0.4, nearest[2]: 0.6}


def test_weights_by_load_are_capacities_once_the_blackout_is_over() -> None:
    place = ground()
    balancer = ByLoad(place, 1)
    seen = []
    for _ in range(round(30 / STEP_S)):
        place.step()
        place.serve(dict.fromkeys(place.names, 500.0))
        balancer.advance()
        seen.append(dict(balancer.row("eu")))
    total = sum(site.capacity for site in SITES.values())
    assert seen[round(5 / STEP_S)] == pytest.approx(dict.fromkeys(place.names, 0.2))
    assert seen[-1] == pytest.approx({name: site.capacity / total for name, site in SITES.items()}, rel=0.01)


def test_the_tally_knows_what_was_moved_in_vain_and_when_it_ended() -> None:
    tally = Tally((10.0,))
    shares = [0.5] * 11 + [0.3, 0.1, 0.2, 0.205] + [0.205] * 45
    for second, share in enumerate(shares):
        tally.take_rows(float(second), {"eu": {"eu": share, "us": 1 - share}}, ["eu", "us"])
    tally.take(99.0, 0.1, 0.0)
    tally.take(1.0, 0.3, 1.0)
    found = tally.figures(1)
    assert found.settle_s == 3.0
    assert found.to_and_fro == pytest.approx(100 * (0.505 - 0.295))
    assert found.changes == pytest.approx(60 * 4 / 59)
    assert found.unserved == pytest.approx(1.0) and found.p99_ms == pytest.approx(100.0)


def test_a_tiny_run_of_every_balancer_gives_finite_figures_and_the_same_ones_again() -> None:
    scenario = replace(traffic.SCENARIOS[traffic.LOAD_SURGE], length_s=14.0)
    for which in (traffic.FIRST, *traffic.OTHERS):
        found = traffic.measure(scenario, which, 1, settle_s=15.0)
        assert found == traffic.measure(scenario, which, 1, settle_s=15.0)
        assert 0 < found.p99_ms <= 1000 and 0 <= found.unserved < 100 and math.isfinite(found.to_and_fro)


def test_rows_are_judged_against_the_best_of_the_others_and_calm_against_those_that_serve_as_well() -> None:
    ours = Figures(overload_s=2.0, p99_ms=100.0, unserved=0.0, changes=9.0, settle_s=6.0, to_and_fro=0.0)
    better = replace(ours, overload_s=0.0, changes=60.0)
    idle = replace(ours, overload_s=50.0, unserved=9.0, changes=0.0)
    found = {traffic.FIRST: ours, "better": better, "idle": idle}
    rows = traffic.rows_of("a scenario", found)
    assert [row.holds for row in rows] == [False, True, True, True, True, True]
    assert "better 0" in rows[0].reference and "idle 50" in rows[0].reference
    alone = traffic.rows_of("a scenario", {traffic.FIRST: ours, "idle": idle})
    assert [row.holds for row in alone] == [True, True, True, None, None, None]
