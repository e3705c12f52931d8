"""Objectives, beside sums over a list of everything that was measured."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from primacy_coordinator.core.monitor.budgets import BURN_WINDOWS_S, Ledger, SloFigure
from primacy_coordinator.core.monitor.model import Slo, SloIndicator
from primacy_coordinator.core.monitor.series import Key
from primacy_coordinator.core.monitor.tiers import HOUR_S, MINUTE_S, Measured, Tiers
from primacy_wire.instant import SECOND_NS
from primacy_wire.sketch import Sketch

BEGIN = 1_700_000_000 // HOUR_S * HOUR_S
REGIONS = ("a", "b")
SUCCESS = Slo("success", SloIndicator.SUCCESS, 0.99, 24 * HOUR_S * SECOND_NS, per_region=True)
TIME = Slo("serving", SloIndicator.AVAILABILITY, 0.999, 24 * HOUR_S * SECOND_NS, per_region=True)
QUICK = Slo("quick", SloIndicator.LATENCY, 0.9, 24 * HOUR_S * SECOND_NS, SECOND_NS // 10)


def judge(tiers: Tiers, slo: Slo, region: str = "", ledger: Ledger | None = None, *windows_s: int) -> SloFigure:
    ledger = ledger or Ledger(slo, region)
    for _ in ledger.follow(tiers):
        pass
    return ledger.figure(tiers.second + 1, windows_s)


@dataclass
class World:
    """Two regions, of which one fails now and then."""

    tiers: Tiers = field(default_factory=Tiers)
    second: int = BEGIN
    requests: list[tuple[int, str, float, float]] = field(default_factory=list)
    served: list[tuple[int, str, bool]] = field(default_factory=list)
    draw: random.Random = field(default_factory=lambda: random.Random(3))

    def run(self, seconds: int, fails: float = 0.0, down: bool = False, pace: int = 1) -> None:
        for _ in range(0, seconds, pace):
            gauges = []
            for region in REGIONS:
                rate = self.draw.randint(1, 200)
                failed = rate * fails if region == "a" else 0.0
                up = not (down and region == "a")
                gauges += [
                    (Key("request_rate", region), float(rate)),
                    (Key("failed_rate", region), failed),
                    (Key("serving", region), float(up)),
                    (Key("active", region), float(up and region == "a")),
                ]
                self.requests.append((self.second, region, rate, failed))
                self.served.append((self.second, region, up))
            self.tiers.put(self.second, gauges)
            while self.tiers.work():
                pass
            self.second += pace

    def bad_share(self, window_s: int, region: str = "") -> float:
        wanted = [r for r in self.requests if r[0] >= self.second - window_s and region in ("", r[1])]
        return sum(r[3] for r in wanted) / sum(r[2] for r in wanted)


def test_burn_rates_are_those_of_all_requests() -> None:
    world = World()
    world.run(2 * HOUR_S, pace=5)
    world.run(40 * MINUTE_S, fails=0.3, pace=5)
    world.run(7 * MINUTE_S, pace=5)
    for region in ("", "a", "b"):
        figure = judge(world.tiers, SUCCESS, region)
        for burn in figure.burns:
            age_s = min(burn.window_s, world.second - BEGIN)
            expected = world.bad_share(age_s, region) / (1 - SUCCESS.objective) * age_s / burn.window_s
            # Of short windows the last steps are not closed yet, and of long ones whole minutes count.
            assert burn.rate == pytest.approx(expected, rel=0.05, abs=0.05), burn.window_s


def test_the_first_seconds_of_a_group_wake_nobody() -> None:
    """It has no active region until it has elected one: that is no hour without."""
    world = World()
    world.run(3, down=True)
    world.run(27)
    figure = judge(world.tiers, TIME)
    assert figure.achieved is not None and figure.achieved < 0.95
    assert figure.burn(HOUR_S) == pytest.approx(3 / 3.6, rel=0.6), "far from the 14.4 that page"


def test_what_was_measured_counts_before_its_first_minute_is_over() -> None:
    world = World()
    world.second += 1
    world.run(30, fails=0.2)
    figure = judge(world.tiers, SUCCESS, "a")
    assert figure.achieved == pytest.approx(0.8)
    assert 20 <= figure.measured_s <= 30
    burnt = figure.burn(5 * MINUTE_S)
    assert burnt is not None
    # What came since the last step was closed is not known yet.
    assert 20 * figure.measured_s <= burnt * 5 * MINUTE_S <= 20 * (figure.measured_s + 20)
    whole = figure.burnt(5 * MINUTE_S)
    failed = [one[3] for one in world.requests if one[1] == "a"]
    assert whole is not None and sum(failed[:20]) <= whole.bad <= sum(failed), "as many requests as failed"


def test_a_ledger_that_follows_says_what_a_new_one_says() -> None:
    world = World()
    ledgers = {(slo, region): Ledger(slo, region) for slo in (SUCCESS, TIME) for region in ("", *REGIONS)}
    for number in range(40):
        world.run(400, fails=0.1 * (number % 5), down=number % 7 == 3, pace=10)
        for (slo, region), ledger in ledgers.items():
            assert judge(world.tiers, slo, region, ledger) == judge(world.tiers, slo, region)
    world.second -= 1000
    world.tiers.rewind(world.second)
    world.run(400, pace=10)
    for (slo, region), ledger in ledgers.items():
        assert judge(world.tiers, slo, region, ledger) == judge(world.tiers, slo, region)


def test_a_budget_is_spent_by_the_time_that_was_bad() -> None:
    world = World()
    world.run(2 * HOUR_S, pace=10)
    world.run(10 * MINUTE_S, down=True, pace=10)
    world.run(HOUR_S, pace=10)
    for region in ("", "a"):
        figure = judge(world.tiers, TIME, region)
        allowed_s = 0.001 * 24 * HOUR_S
        assert figure.achieved == pytest.approx(1 - 600 / (world.second - BEGIN), abs=0.002)
        # Samples come every ten seconds: a tenth of the time is counted as measured.
        assert figure.budget_left == pytest.approx(1 - 60 / allowed_s, rel=0.05)
    assert judge(world.tiers, TIME, "b").budget_left == 1.0


def test_nothing_measured_says_nothing() -> None:
    tiers = Tiers()
    tiers.put(BEGIN, [])
    figure = judge(tiers, SUCCESS)
    assert (figure.achieved, figure.budget_left, figure.measured_s) == (None, None, 0)
    assert {burn.rate for burn in figure.burns} == {None}
    assert figure.burn(HOUR_S) is None


def test_requests_that_take_too_long_spend_the_budget_of_latency() -> None:
    tiers = Tiers()
    for second in range(BEGIN, BEGIN + HOUR_S, 10):
        sketch = Sketch()
        sketch.add(0.05, 80)
        sketch.add(0.5, 20)
        tiers.put(second, [], [Measured("a", "a/1", (sketch.to_series("latency_seconds"),))])
        while tiers.work():
            pass
    figure = judge(tiers, QUICK)
    assert figure.achieved == pytest.approx(0.8)
    assert figure.burn(HOUR_S) == pytest.approx(2.0, rel=0.01)  # The last step is not closed yet.


def test_windows_that_rules_ask_for_are_there() -> None:
    world = World()
    world.run(HOUR_S, fails=0.2, pace=10)
    figure = judge(world.tiers, SUCCESS, "", None, 600)
    assert [burn.window_s for burn in figure.burns] == sorted({*(w for w in BURN_WINDOWS_S if w <= 24 * HOUR_S), 600})
    assert figure.burn(600) == pytest.approx(world.bad_share(600) / 0.01, rel=0.05)
