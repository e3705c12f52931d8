"""A monitor over a group on a table: what the machine believes becomes figures, whatever the clocks do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from primacy_coordinator.core.glance import Looks
from primacy_coordinator.core.model import FailoverKind, FailoverPhase, FailoverRecord, FailoverState, Policy
from primacy_coordinator.core.monitor.budgets import Ledger
from primacy_coordinator.core.monitor.model import Aggregation, Slo, SloIndicator
from primacy_coordinator.core.monitor.monitor import Monitor
from primacy_coordinator.core.monitor.performance import Window, failover_figures
from primacy_coordinator.core.monitor.queries import Query
from primacy_coordinator.core.monitor.sampling import Sampler
from primacy_coordinator.core.monitor.seen import SMALL, Seen, Share, share_of
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import Tiers
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS, Now
from primacy_wire.messages import Load, RouteCount

from tests.unit.core.lab import DOWN, Lab


class Watching:
    """A group that is looked at once a second."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.looks = Looks()
        self.monitor = Monitor(lab.now)
        self.jump_ns = 0
        """How far the coordinator's wall clock was set."""

    @property
    def now(self) -> Now:
        return replace(self.lab.now, wall_ns=self.lab.now.wall_ns + self.jump_ns)

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.lab.run(1.0)
            self.look()

    def look(self) -> Seen:
        assert self.lab.group is not None
        seen = self.lab.group.glance(self.lab.now, self.looks)
        self.monitor.look(self.now, seen)
        while self.monitor.work():
            pass
        return seen

    def newest(self, series: str, region: str = "", window_s: int = 5) -> float | None:
        return self.monitor.latest(series, region, None, 0.99, window_s * SECOND_NS)


@pytest.fixture
def watching() -> Watching:
    lab = Lab({"eu": 1, "us": 1}, Policy(slos=(Slo("up", SloIndicator.AVAILABILITY, 0.9, per_region=True),)))
    lab.run(10.0)
    for key, rate in (("eu/a1", 100.0), ("us/a1", 300.0)):
        lab.nodes[key].load = Load(rate, 0.1 if rate == 100.0 else 0.0, 10 * MILLISECOND_NS, 0.5, 1000.0, 4.0)
    lab.run(2.0)
    return Watching(lab)


def test_loads_become_figures_of_regions_and_of_the_group(watching: Watching) -> None:
    watching.run(6)
    assert watching.newest("request_rate", "eu") == pytest.approx(100)
    assert watching.newest("request_rate") == pytest.approx(400)
    # A share of 400 requests, not the mean of two shares.
    assert watching.newest("error_rate") == pytest.approx(10 / 400)
    assert watching.newest("serving", "eu") == 1
    assert watching.newest("active") == 1
    assert watching.newest("agents") == 2
    assert watching.newest("latency_seconds") is None
    assert watching.monitor.regions("request_rate") == ("eu", "us")


def test_what_is_not_known_is_no_figure(watching: Watching) -> None:
    watching.lab.nodes["eu/a1"].load = Load(math.nan, math.inf, -1, -1.0, -1.0, -1.0)
    watching.run(6)
    assert watching.newest("request_rate", "eu", 3) is None
    assert watching.newest("error_rate", "eu", 3) is None
    assert watching.newest("request_rate", "us", 3) == pytest.approx(300)


def test_a_counter_that_begins_anew_is_no_flood(watching: Watching) -> None:
    node = watching.lab.nodes["eu/a1"]
    for requests in (1000, 1010, 1020, 3, 13, 23):
        node.routed = (RouteCount("eu", "us", 1, 1, "ok", requests),)
        watching.run(1)
    (line,) = watching.monitor.query(
        Query("routed_rate", watching.monitor.second - 5, watching.monitor.second + 1, 1, target="us")
    )
    assert line[0] == ("eu", "us")
    assert all(0 <= value <= 20 for _, value in line[1])


def test_what_agents_routed_before_the_coordinator_came_is_no_flood() -> None:
    """They are heard one after the other: each brings the counts of its whole life."""
    lab = Lab({"eu": 2, "us": 1})
    lab.run(8.0)
    for key in ("eu/a1", "eu/a2"):
        lab.nodes[key].routed = (RouteCount("eu", "us", 1, 1, "ok", 1_000_000),)
    lab.nodes["eu/a2"].cut = True
    lab.stop()
    lab.start()
    watching = Watching(lab)
    watching.run(5)
    lab.nodes["eu/a2"].cut = False
    watching.run(5)
    for requests in (10, 20, 30):
        for key in ("eu/a1", "eu/a2"):
            lab.nodes[key].routed = (RouteCount("eu", "us", 1, 1, "ok", 1_000_000 + requests),)
        watching.run(1)
    monitor = watching.monitor
    (line,) = monitor.query(Query("routed_rate", monitor.second - 12, monitor.second + 1, 1))
    assert [value for _, value in line[1]][-3:] == [20.0] * 3
    assert all(value in (0.0, 20.0) for _, value in line[1])


def test_names_that_clients_invent_are_no_series(watching: Watching) -> None:
    pairs = (("c", "us"), ("eu", ""), ("eu", "t"), ("eu", "us"))
    for number in range(5):
        watching.lab.nodes["eu/a1"].routed = tuple(RouteCount(*pair, 1, 1, "ok", number) for pair in pairs)
        watching.run(1)
    found = {key for key, _ in watching.monitor.tiers.slots.named("routed_rate")}
    assert found == {Key("routed_rate", "eu", "us"), Key("routed_rate", "eu", "")}


def test_a_region_that_dies_does_not_serve_and_its_budget_burns(watching: Watching) -> None:
    watching.run(30)
    watching.lab.nodes["us/a1"].health = DOWN
    watching.run(40)
    assert watching.newest("serving", "us") == 0
    assert watching.newest("serving", "eu") == 1
    # Objectives are judged every ten seconds.
    burns = {region: watching.monitor.burn("up", region, 300 * SECOND_NS) for region in ("eu", "us")}
    assert burns["eu"] == 0
    # What came before the first measurement counts as good.
    assert burns["us"] == pytest.approx(10 * 40 / 300, rel=0.4)
    table = watching.monitor.performance(60)
    assert dict(table.regions)["eu"].availability == 1
    assert dict(table.regions)["us"].availability == pytest.approx(20 / 60, abs=0.1)


@pytest.mark.parametrize("jump_s", [-7, -3600, -86_400 * 365, 1, 3600])
def test_a_wall_clock_that_jumps_neither_doubles_nor_loses_what_comes(watching: Watching, jump_s: int) -> None:
    watching.run(100)
    before = watching.monitor.second
    watching.jump_ns = jump_s * SECOND_NS
    watching.run(100)
    monitor = watching.monitor
    expected = before + 100 + (jump_s if abs(jump_s) >= 2 else 0)
    assert monitor.second == expected
    for ring in monitor.tiers.gauge_rings:
        starts = [row.start for row in ring.rows]
        assert starts == sorted(set(starts))
        assert not starts or starts[-1] <= monitor.second
    assert watching.newest("request_rate", "us", 90) == pytest.approx(300)
    (line,) = monitor.query(Query("request_rate", monitor.second - 89, monitor.second + 1, 1, ("us",)))
    assert len(line[1]) == 90
    assert (monitor.rewound is not None) == (jump_s <= -2)


def test_a_group_that_cannot_be_looked_at_is_a_gap(watching: Watching) -> None:
    watching.run(5)
    for _ in range(4):
        watching.lab.run(1.0)
        watching.monitor.look(watching.now, None)
    watching.run(5)
    monitor = watching.monitor
    (line,) = monitor.query(Query("request_rate", monitor.second - 20, monitor.second + 1, 1, ("us",)))
    assert len(line[1]) == 10
    assert monitor.silence_s("request_rate", "us") == 0


def test_what_is_between_many_regions_has_its_turn() -> None:
    assert share_of(5, SMALL).parts == 1
    seen = [[at for at in range(50) if share_of(number, 50).has(at)] for number in range(10)]
    assert sorted(at for some in seen for at in some) == list(range(50))
    assert Share(20, 10).first


def test_weights_are_kept_when_they_fall_to_nothing(watching: Watching) -> None:
    watching.run(3)
    sampler = Sampler()
    seen = watching.look()
    one = seen.view.weights
    gone = replace(one, read=tuple((client, tuple((r, 0.0) for r, _ in shares)) for client, shares in one.read))
    first = dict(sampler.sample(seen, Share(0), 0))
    then = dict(sampler.sample(replace(seen, view=replace(seen.view, weights=gone)), Share(1), SECOND_NS))
    held = {key for key, value in first.items() if key.name == "weight" and value > 0}
    assert held
    assert {key for key in then if key.name == "weight"} == held
    assert all(then[key] == 0 for key in held)


def test_moves_of_the_lease_are_counted_by_what_they_are() -> None:
    def record(
        move: FailoverKind, start_s: int, took_s: int, state: FailoverState = FailoverState.SUCCEEDED
    ) -> FailoverRecord:
        start_ns = start_s * SECOND_NS
        return FailoverRecord(f"f{start_s}", move, state, "a", "b", 1, "", start_ns, start_ns + took_s * SECOND_NS)

    found = failover_figures(
        [
            record(FailoverKind.AUTOMATIC, 10, 4),
            record(FailoverKind.FORCED, 20, 8),
            record(FailoverKind.AUTOMATIC, 30, 100, FailoverState.FAILED),
            record(FailoverKind.PLANNED, 40, 1),
            record(FailoverKind.FAILBACK, 50, 1),
            record(FailoverKind.PLANNED, 60, 1, FailoverState.ABORTED),
            record(FailoverKind.AUTOMATIC, 1000, 50),
        ],
        0,
        100 * SECOND_NS,
        None,
    )
    assert (found.failovers, found.switchovers) == (3, 2)
    assert (found.longest_ns, found.median_ns) == (8 * SECOND_NS, 8 * SECOND_NS)


def test_a_failover_takes_as_long_as_its_phases_though_the_wall_clock_was_set_meanwhile() -> None:
    phases = tuple(FailoverPhase(name, 10, 20, 2 * SECOND_NS) for name in ("waiting", "granting"))
    succeeded = FailoverRecord(
        "fo-1", FailoverKind.AUTOMATIC, FailoverState.SUCCEEDED, "a", "b", 1, "", 10, 5, phases=phases
    )
    assert failover_figures([succeeded], 0, 100, None).longest_ns == 4 * SECOND_NS


@pytest.mark.parametrize("window_s", [5, 20, 60, 300, 900, 3600])
def test_a_window_is_as_long_as_it_says(window_s: int) -> None:
    """Whenever it is looked at: else a threshold would fire late, and hold for long after it was over."""
    begin = 1_700_000_000 // 3600 * 3600
    monitor = Monitor(Now(0, begin * SECOND_NS))
    for second in range(begin, begin + 2 * 3600 + 130):
        monitor.tiers.put(second, [(Key("request_rate", "eu"), float(second - begin))])
        while monitor.tiers.work():
            pass
        if second < begin + 2 * 3600:
            continue
        mean = monitor.latest("request_rate", "eu", None, 0.99, window_s * SECOND_NS)
        assert mean is not None
        # Of numbers that follow each other: so many it was made of.
        read_s = 2 * (second - begin - mean) + 1
        assert window_s <= round(read_s) <= window_s + max(1, min(window_s // 5, 60))


def test_what_a_region_did_before_it_was_removed_is_a_part_of_what_the_group_did() -> None:
    begin = 1_700_000_000 // 3600 * 3600
    lab = Lab({"eu": 1, "us": 1}, Policy(slos=(Slo("up", SloIndicator.AVAILABILITY, 0.9),)))
    lab.run(10.0)
    lab.now = replace(lab.now, wall_ns=begin * SECOND_NS)
    watching = Watching(lab)
    watching.run(30)
    assert lab.group is not None
    first = lab.group.view(lab.now).lease.active_region
    monitor = watching.monitor
    for second in range(monitor.second + 1, monitor.second + 601):
        gone = second <= begin + 400
        gauges = [(Key("active", "gone"), 1.0), (Key("request_rate", "gone"), 60.0)] if gone else []
        monitor.tiers.put(second, [*gauges, (Key("active", first), float(not gone)), (Key("request_rate", first), 5.0)])
        while monitor.tiers.work():
            pass
    table = monitor.performance(600)
    assert "gone" not in dict(table.regions)
    assert table.whole.availability == pytest.approx(1)
    assert table.failovers.active_share == pytest.approx(1)
    assert table.whole.throughput == pytest.approx(5 + 60 * 370 / 600, rel=0.03)
    ledger = Ledger(Slo("up", SloIndicator.AVAILABILITY, 0.9), "")
    for _ in ledger.follow(monitor.tiers):
        pass
    assert ledger.figure(monitor.second + 1).achieved == pytest.approx(1, abs=0.02)


def test_shares_are_of_regions_that_say_both_what_they_use_and_what_they_have() -> None:
    begin = 1_700_000_000 // 3600 * 3600
    tiers = Tiers()
    for second in range(begin, begin + 600):
        gauges = [(Key("used", "a"), 50.0), (Key("capacity", "a"), 100.0), (Key("capacity", "silent"), 1000.0)]
        gauges += [(Key("request_rate", "a"), 10.0), (Key("failed_rate", "a"), 1.0), (Key("request_rate", "b"), 90.0)]
        if second < begin + 60:
            gauges += [(Key("request_rate", "short"), 100.0), (Key("failed_rate", "short"), 100.0)]
        tiers.put(second, gauges)
        while tiers.work():
            pass
    regions = ("a", "b", "short", "silent")
    whole = Window(tiers, begin, begin + 600, regions).of(regions, whole=True)
    assert whole.saturation == pytest.approx(0.5)
    assert whole.error_rate == pytest.approx((600 + 6000) / (6000 + 6000))
    assert Window(tiers, begin, begin + 600, regions).of(("silent",), whole=False).saturation is None


def test_names_are_asked_for_as_they_are(watching: Watching) -> None:
    watching.run(3)
    assert "rtt_seconds" not in watching.monitor.names()
    for node in watching.lab.nodes.values():
        node.sees = {"eu": True, "us": True}
    watching.run(3)
    assert watching.monitor.latest("rtt_seconds", "eu", Aggregation.MAXIMUM, 0.99, 2 * SECOND_NS) == pytest.approx(
        0.005
    )
    assert watching.monitor.tiers.slots.find(Key("rtt_seconds", "eu", "us")) is not None
