"""How regions did, as tables: each figure beside what it was in an earlier window."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from rich.text import Text

from primacy_cli.sparks import percent
from primacy_cli.tables import Renderable, facts, stack, table
from primacy_cli.words import length, number

ALIKE = 0.02
"""A figure that changed by a smaller share is shown as unchanged."""

Figure = Callable[[monitoring_pb2.Performance], float | None]
Words = Callable[[float], str]


def performance_screen(response: pb.GetPerformanceResponse) -> Renderable:
    whole = getattr(response, "global")
    return stack(
        facts([("window", f"the last {length(response.window)}, beside an earlier one of that length")]),
        _regions([*response.regions, whole]),
        _failovers(response.failovers, response.failovers_before),
        _slos(response.slos) if response.slos else "The policy has no objectives (`slos`).",
        _round_trips(response.round_trips) if response.round_trips else None,
    )


# ---- regions


def _share(name: str) -> Figure:
    return lambda found: getattr(found, name) if found.HasField(name) else None  # type: ignore[arg-type]


def _span(name: str) -> Figure:
    return lambda found: getattr(found, name).ToNanoseconds() / 1e9 if found.HasField(name) else None  # type: ignore[arg-type]


def _seconds(value: float) -> str:
    from primacy_cli.words import span

    return span(round(value * 1e9))


def _rate(value: float) -> str:
    return f"{number(value)}/s"


COLUMNS: tuple[tuple[str, Figure, Words, int], ...] = (
    ("AVAILABLE", _share("availability"), percent, 1),
    ("ERRORS", _share("error_rate"), percent, -1),
    ("REQUESTS", _share("throughput"), _rate, 0),
    ("P50", _span("latency_p50"), _seconds, -1),
    ("P99", _span("latency_p99"), _seconds, -1),
    ("P99.9", _span("latency_p999"), _seconds, -1),
    ("IN USE", _share("saturation"), percent, -1),
    ("MOST", _share("saturation_max"), percent, -1),
    ("LAG", _span("lag_max"), _seconds, -1),
)
"""(head, figure, in words, whether more of it is better (1), worse (-1) or neither)."""


def _regions(regions: Iterable[monitoring_pb2.RegionPerformance]) -> Renderable:
    rows = []
    for region in regions:
        cells: list[str | Text] = [region.region or "all"]
        for _, figure, words, better in COLUMNS:
            cells.append(_cell(figure(region.now), figure(region.before), words, better))
        rows.append(cells)
    heads = [head for head, *_ in COLUMNS]
    return table(("REGION", *heads), rows, right=heads)


def _cell(now: float | None, before: float | None, words: Words, better: int) -> Text:
    """`12 ms ↑9 ms`: what it is, which way it went, and what it was."""
    if now is None:
        return Text("-" if before is None else f"- (was {words(before)})", style="dim")
    # Of what should be whole, what lacks counts.
    scale = max(1 - now, 1 - before) if better > 0 and before is not None else max(abs(now), abs(before or 0.0))
    if before is None or words(now) == words(before) or abs(now - before) <= ALIKE * scale:
        return Text(words(now))
    worse = (now > before) == (better < 0)
    style = "" if better == 0 else "yellow" if worse else "green"
    return Text.assemble(words(now), (f" {'↑' if now > before else '↓'}{words(before)}", style))


# ---- the rest


def _failovers(now: monitoring_pb2.FailoverPerformance, before: monitoring_pb2.FailoverPerformance) -> Renderable:
    rows = [
        (
            name,
            str(found.failovers),
            str(found.switchovers),
            length(found.median) if found.HasField("median") else "-",
            length(found.longest) if found.HasField("longest") else "-",
            percent(found.active_share) if found.HasField("active_share") else "-",
        )
        for name, found in (("now", now), ("before", before))
    ]
    heads = ("LEASE", "FAILOVERS", "SWITCHOVERS", "MEDIAN", "LONGEST", "TIME WITH AN ACTIVE REGION")
    return table(heads, rows, right=heads[1:])


def _slos(slos: Iterable[monitoring_pb2.SloStatus]) -> Renderable:
    rows = []
    for slo in slos:
        measured = slo.HasField("achieved")
        budget = Text(percent(slo.budget_left), style=_style(slo.budget_left)) if measured else Text("-")
        rows.append(
            (
                slo.name,
                slo.region or "all",
                percent(slo.objective),
                percent(slo.achieved) if measured else "not measured",
                budget,
                "  ".join(
                    f"{number(burn.rate)} in {length(burn.window)}" for burn in slo.burn_rates if burn.HasField("rate")
                )
                or "-",
            )
        )
    heads = ("OBJECTIVE", "REGION", "GOAL", "ACHIEVED", "BUDGET LEFT", "BURN RATES")
    return table(heads, rows, right=heads[2:5])


def _style(left: float) -> str:
    return "bold red" if left <= 0 else "yellow" if left < 0.25 else "green"


def _round_trips(trips: Iterable[monitoring_pb2.RoundTrip]) -> Renderable:
    known = {(trip.region, trip.target_region): length(trip.rtt) for trip in trips}
    regions = sorted({one for pair in known for one in pair})
    rows = [(one, *(known.get((one, other), "-") for other in regions)) for one in regions]
    return table(("RTT FROM \\ TO", *regions), rows, right=regions)
