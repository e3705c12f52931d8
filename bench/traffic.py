"""Where requests go when regions fail, fill up, come back or are small: our weights beside four other ways.

Every balancer meets the same demand, faults and figures in every scenario (`traffic_world` says how regions serve,
`traffic_policies` what the others do, `traffic_primacy` how ours is run). Virtual time: the figures do not depend on
the machine, and the same seeds give the same ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from statistics import mean

from primacy_coordinator.core.model import RoutingStrategy

from bench.rows import Row
from bench.traffic_figures import Figures, Tally
from bench.traffic_policies import OTHERS, Balancer, Shares
from bench.traffic_primacy import RTT_SPREAD, Primacy
from bench.traffic_world import SITES, STEP_S, Ground, Site, rtt_s

SEEDS = 2
SETTLE_S = 40.0
"""Before a scenario begins, for groups to form and weights to find their place."""
NOISE = 0.05
WAVER = 0.04
"""Relative standard deviations of the figures that are reported, and of demand."""

Event = Callable[[Ground], None]


def _lose(region: str, ground: Ground) -> None:
    """A region goes dark: services, agents and proxies; its clients enter elsewhere."""
    ground.services[region].is_dark = True


def _return(region: str, ground: Ground) -> None:
    """It is back, and cold."""
    service = ground.services[region]
    service.is_dark = service.is_down = False
    service.warm_from_s = ground.now_s


def _crash(region: str, ground: Ground) -> None:
    """The service of a region is down; the agents and proxies there work on."""
    ground.services[region].is_down = True


def _limp(region: str, instances: int, ground: Ground) -> None:
    ground.services[region].instances_well = instances


def _surge(client: str, factor: float, ground: Ground) -> None:
    ground.clients[client].surge = factor


def _drain(region: str, ground: Ground) -> None:
    ground.drained.add(region)


def _silence(ground: Ground) -> None:
    """The coordinator is gone, and does not come back."""
    ground.has_coordinator = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens, and when: seconds from the start."""

    events: tuple[tuple[float, Event], ...]
    length_s: float = 120.0
    sites: Mapping[str, Site] = field(default_factory=lambda: SITES)
    noise: float = NOISE
    stale_s: float = 0.0
    """How old the figures of load are when a balancer learns of them."""
    rtt_spread: float = RTT_SPREAD
    is_counted: bool = True
    """Proxies say how many requests they sent where; else ours knows only what regions served."""


def _nothing(ground: Ground) -> None:
    del ground


SMALL: Mapping[str, Site] = {**SITES, "eu": replace(SITES["eu"], capacity=900.0)}
LOAD_SURGE = "load surge"
SCENARIOS: Mapping[str, Scenario] = {
    "quiet": Scenario(((0.0, _nothing),)),
    "regional loss": Scenario(((10.0, partial(_lose, "us-east")),)),
    "service crash": Scenario(((10.0, partial(_crash, "eu")),)),
    LOAD_SURGE: Scenario(((10.0, partial(_surge, "eu", 3.0)), (90.0, partial(_surge, "eu", 1.0))), 160.0),
    "surge, not counted": Scenario(
        ((10.0, partial(_surge, "eu", 3.0)), (90.0, partial(_surge, "eu", 1.0))), 160.0, is_counted=False
    ),
    "brown-out": Scenario(((10.0, partial(_limp, "us-east", 5)), (90.0, partial(_limp, "us-east", 10))), 160.0),
    "recovery": Scenario(((10.0, partial(_crash, "us-east")), (60.0, partial(_return, "us-east"))), 240.0),
    "asymmetric": Scenario(((0.0, _nothing),), sites=SMALL),
    "stale and noisy": Scenario(
        ((10.0, partial(_surge, "eu", 3.0)), (90.0, partial(_surge, "eu", 1.0))), 160.0, SITES, 0.15, 5.0, 0.15
    ),
    "drain": Scenario(((10.0, partial(_drain, "us-west")),)),
    "no coordinator": Scenario(((5.0, _silence), (15.0, partial(_crash, "eu")))),
}

OURS = {
    "OPTIMAL": RoutingStrategy.OPTIMAL,
    "LATENCY": RoutingStrategy.LATENCY,
    "GEOGRAPHIC": RoutingStrategy.GEOGRAPHIC,
}
FIRST = next(iter(OURS))
"""The strategy that must be best or equal."""


def measure(scenario: Scenario, which: str, seed: int, settle_s: float = SETTLE_S) -> Figures:
    """One scenario under one balancer."""
    ground = Ground(scenario.sites, seed, scenario.noise, scenario.stale_s, WAVER)
    if which in OURS:
        balancer = Primacy(OURS[which], ground, seed, scenario.rtt_spread, scenario.is_counted)
        return _run(scenario, ground, balancer, settle_s)
    return _run(scenario, ground, OTHERS[which](ground, seed), settle_s)


def _run(scenario: Scenario, ground: Ground, balancer: Balancer, settle_s: float) -> Figures:
    tally = Tally(tuple(at_s for at_s, _ in scenario.events))
    aside = Tally((0.0,))
    for _ in range(round(settle_s / STEP_S)):
        _step(ground, balancer, aside)
    ahead = list(scenario.events)
    per_second = round(1 / STEP_S)
    for number in range(round(scenario.length_s / STEP_S)):
        now_s = number * STEP_S
        while ahead and ahead[0][0] <= now_s + 1e-9:
            ahead.pop(0)[1](ground)
        rows = _step(ground, balancer, tally)
        if number % per_second == 0:
            tally.take_rows(now_s, rows, ground.names)
    return tally.figures(len(ground.names))


def _step(ground: Ground, balancer: Balancer, tally: Tally) -> dict[str, Shares]:
    """Requests go where the rows in force send them; then everybody learns what there is to learn."""
    asked = ground.step()
    rows = {name: balancer.row(name) or {name: 1.0} for name in ground.open_ones}
    arrivals = dict.fromkeys(ground.names, 0.0)
    parcels: list[tuple[str, float, float]] = []
    for client, rate in asked.items():
        entry = ground.entry(client)
        way_s = rtt_s(client, entry) if entry != client else 0.0
        sent = {region: rate * share for region, share in rows[entry].items() if share > 0}
        balancer.sent(entry, sent)
        for region, part in sent.items():
            arrivals[region] += part
            parcels.append((region, part * STEP_S, way_s + rtt_s(entry, region)))
    lost = ground.serve(arrivals)
    for region, requests, way_s in parcels:
        tally.take(requests, way_s + ground.services[region].latency_s, lost[region])
    for service in ground.services.values():
        if service.serves and service.utilisation > 1:
            tally.take_overload()
    balancer.advance()
    return rows


SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Column:
    """A figure, and how much worse than the best of the others still counts as equal."""

    name: str
    unit: str
    figure: str
    slack: float
    """Beside the 5 % that all have."""
    is_calm: bool = False
    """It says how much is moved: what never moves has none of it, and is no measure unless it serves as well."""

    def of(self, figures: Figures) -> float:
        return float(getattr(figures, self.figure))

    def bound(self, best: float) -> float:
        """What still counts as equal."""
        return best * (1 + SHARE) + self.slack


COLUMNS = (
    Column("overload", "s", "overload_s", 1.0),
    Column("p99", "ms", "p99_ms", 5.0),
    Column("not served", "%", "unserved", 0.05),
    Column("changes", "/min", "changes", 1.0, is_calm=True),
    Column("settles in", "s", "settle_s", 5.0, is_calm=True),
    Column("to and fro", "%", "to_and_fro", 1.0, is_calm=True),
)
SERVICE = tuple(column for column in COLUMNS if column.figure in ("overload_s", "unserved"))


def _mean(runs: list[Figures]) -> Figures:
    return Figures(*(mean(getattr(run, one.name) for run in runs) for one in fields(Figures)))


def compare(name: str, seeds: int, balancers: tuple[str, ...] = (*OURS, *OTHERS)) -> dict[str, Figures]:
    """The means over the seeds, of every balancer."""
    return {
        which: _mean([measure(SCENARIOS[name], which, seed) for seed in range(1, seeds + 1)]) for which in balancers
    }


def rows_of(name: str, found: Mapping[str, Figures]) -> list[Row]:
    """Ours beside the best of the others; the budget is the best with its slack.

    Of figures of calm the best of those that overload and lose no more than ours does; there may be none.
    """
    ours, others = found[FIRST], [which for which in found if which not in OURS]
    peers = [which for which in others if all(c.of(found[which]) <= c.bound(c.of(ours)) for c in SERVICE)]
    rows = []
    for column in COLUMNS:
        values = {which: column.of(found[which]) for which in others}
        best = min((values[which] for which in (peers if column.is_calm else others)), default=None)
        beside = ", ".join(f"{which} {value:.3g}" for which, value in values.items())
        budget = None if best is None else column.bound(best)
        rows.append(Row(f"traffic: {name}: {column.name}", column.of(ours), column.unit, beside, budget=budget))
    return rows


def matrix(name: str, found: Mapping[str, Figures]) -> str:
    """All figures of a scenario, for people."""
    head = [name, *(f"{column.name} {column.unit}" for column in COLUMNS)]
    lines = [head, *([which, *(f"{column.of(figures):.4g}" for column in COLUMNS)]
                     for which, figures in found.items())]  # fmt: skip
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in
                  enumerate(zip(line, widths, strict=True))) for line in lines
    )  # fmt: skip


def run(seeds: int = SEEDS) -> list[Row]:
    """Every scenario under every balancer."""
    rows = []
    for name in SCENARIOS:
        found = compare(name, seeds)
        print(matrix(name, found), file=sys.stderr)
        rows += rows_of(name, found)
    return rows
