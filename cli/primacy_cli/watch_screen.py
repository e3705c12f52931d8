"""The screen of `primacy watch`: what a person on call needs, cut to the terminal that there is.

Each part has a rank. On a small terminal the parts of the highest rank go first, then events; who is active, and what
is wrong, is always there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from primacy.v1 import event_pb2, monitoring_pb2, region_pb2
from primacy.v1.event_pb2 import Event
from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse
from primacy.v1.status_service_pb2 import GetStatusResponse, ListAlertsResponse, Sight
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from primacy_cli.alerts_table import GLYPHS
from primacy_cli.alerts_table import STYLES as SEVERITIES
from primacy_cli.group_screen import group_facts
from primacy_cli.overrides_table import overrides_table
from primacy_cli.regions_table import STYLES as STATUSES
from primacy_cli.regions_table import read_shares, role_text
from primacy_cli.replication_table import BEHIND_NS
from primacy_cli.tables import Cell, Renderable, lines, stack, table
from primacy_cli.words import clock, number, plural, share, span, word

EVENTS_MIN = 3
"""Other parts go before there are fewer."""
ALERTS_SHOWN = 5
PADDING = 2
"""Behind the last column of a table, where it may be cut off."""
SIDE_BY_SIDE = 4
"""Columns between two matrices."""
HEALTHY = region_pb2.REGION_STATUS_HEALTHY
STATUS_GLYPHS = {"HEALTHY": "●", "DEGRADED": "◐", "SUSPECT": "◌", "RECOVERING": "◔", "JOINING": "◔", "DOWN": "✗"}
FIRING = monitoring_pb2.ALERT_STATE_FIRING


@dataclass(frozen=True, slots=True)
class Details:
    """What is asked besides the status. None: the coordinator could not say, and why."""

    alerts: ListAlertsResponse | None = None
    alerts_fault: str = ""
    replication: GetReplicationStatusResponse | None = None
    replication_fault: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    rank: int
    """0 stays."""
    shown: Renderable


class WatchScreen:
    """Drawn for the size that the terminal has at that moment."""

    def __init__(
        self, head: Text, status: GetStatusResponse, details: Details, events: int, age_ns: int, stale: bool = False
    ) -> None:
        self._head = head
        self._parts = _parts(status, details, age_ns)
        self._events = list(status.events)[:events]
        self._stale = stale

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """All of it where nothing says how high the terminal is."""
        height = options.height if options.height is not None else (console.height if console.is_terminal else None)
        # With `height` set, each part would be filled up to it.
        options = options.update(height=None)
        head = len(console.render_lines(self._head, options, pad=False)) + 1
        shown = [part for part in self._parts if _fits(console, options, part)]
        if height is None:
            room = len(self._events)
        else:
            needed = {id(part): len(console.render_lines(part.shown, options, pad=False)) + 1 for part in shown}
            least = min(EVENTS_MIN, len(self._events))

            def left() -> int:
                return height - head - sum(needed[id(part)] for part in shown)

            for part in sorted(shown, key=lambda part: -part.rank):
                if part.rank and left() < least:
                    shown.remove(part)
            spare = left()
            room = min(len(self._events), max(0, spare))
            if spare < 0:
                shown = [_cut(part, -spare) for part in shown]
        events = _events(self._events[:room]) if room else None
        body: Renderable = stack(*(part.shown for part in shown), events)
        yield stack(self._head, Styled(body, "dim") if self._stale else body)


def _cut(part: Part, lines_over: int) -> Part:
    """Without regions that there is no room for. Nothing else can be cut without hiding what is wrong."""
    if not isinstance(part.shown, Regions):
        return part
    # One more line says how many there are.
    most = max(1, len(part.shown.status.regions) - lines_over - 1)
    return Part(part.rank, Regions(part.shown.status, most))


def _fits(console: Console, options: ConsoleOptions, part: Part) -> bool:
    """Whether it is no wider than the terminal: a matrix that is folded says nothing."""
    return not isinstance(part.shown, Table) or (
        Measurement.get(console, options.update(width=1000), part.shown).minimum <= options.max_width
    )


def _parts(status: GetStatusResponse, details: Details, age_ns: int) -> list[Part]:
    found = [
        Part(0, _facts(status, age_ns)),
        Part(0, _alerts(details)),
        Part(0, Regions(status)),
    ]
    whys = [region for region in status.regions if region.status != HEALTHY and region.status_reason]
    if whys:
        found.append(Part(1, lines(_line(f"{region.name}: {region.status_reason}") for region in whys)))
    if status.overrides:
        found.append(Part(1, overrides_table(status.overrides, age_ns)))
    found.append(Part(2, _replication(details)))
    weights = _weights(status)
    trips = _round_trips(status.sights)
    if weights is not None and trips is not None:
        found.append(Part(3, Sides(weights, trips)))
    else:
        found += [Part(3, matrix) for matrix in (weights, trips) if matrix is not None]
    return found


@dataclass(frozen=True, slots=True)
class Sides:
    """Two tables beside each other where there is room, else below each other."""

    left: Table
    right: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=1000)
        widths = [Measurement.get(console, wide, each).maximum for each in (self.left, self.right)]
        if sum(widths) + SIDE_BY_SIDE <= options.max_width:
            grid = Table.grid(padding=(0, SIDE_BY_SIDE, 0, 0))
            grid.add_row(self.left, self.right)
            yield grid
        else:
            yield from (
                Padding(each, (0, 0, 0 if each is self.right else 1, 0))
                for each, width in zip((self.left, self.right), widths, strict=True)
                if width <= options.max_width
            )


def _facts(status: GetStatusResponse, age_ns: int) -> Renderable:
    # The failsafe is for `primacy status`: it never changes, and takes two lines.
    short = GetStatusResponse()
    short.CopyFrom(status)
    short.coordinator.failsafe_note = ""
    return group_facts(short, age_ns)


def _alerts(details: Details) -> Renderable:
    """One line for each that nobody else explains, the worst first."""
    if details.alerts is None:
        return _line(f"alerts: not measured ({details.alerts_fault})", "yellow")
    firing = [alert for alert in details.alerts.alerts if alert.state == FIRING]
    paged = [alert for alert in firing if not alert.cause_id]
    texts = []
    for alert in paged[:ALERTS_SHOWN]:
        severity = word(event_pb2.Severity, alert.severity)
        taken = f" ({alert.acknowledged_by} looks after it)" if alert.acknowledged_by else ""
        words = f"{GLYPHS.get(severity, '?')} {severity.lower()}  {alert.summary}{taken}"
        texts.append(_line(words, SEVERITIES.get(severity, "")))
    hidden = len(firing) - len(texts)
    if hidden:
        texts.append(_line(f"{plural(hidden, 'more alert')}: `primacy alerts --all`", "dim"))
    texts += [
        _line(f"△ alerts do not get out by {sink.name}: {sink.trouble}", "bold red")
        for sink in details.alerts.sinks
        if sink.trouble
    ]
    return lines(texts) if texts else _line("✓ no alert fires", "green")


HEADS = ("REGION", "STATUS", "ROLE", "READS", "AGENTS", "RATE", "ERRORS", "LATENCY", "LOAD")
GO_FIRST = ("AGENTS", "ERRORS", "LATENCY", "RATE", "LOAD", "READS", "ROLE")
"""Columns that a narrow terminal goes without, in this order."""


@dataclass(frozen=True, slots=True)
class Regions:
    """One row for each, with as many columns as there is room for."""

    status: GetStatusResponse
    most: int | None = None
    """No more rows than that: those that are not well come first, then the active one."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        regions = list(self.status.regions)
        if self.most is not None:
            regions.sort(key=lambda region: (region.status == HEALTHY, not region.active))
        hidden = regions[self.most :] if self.most is not None else []
        rows = [_region_row(region, read_shares(self.status.read_weights)) for region in regions[: self.most]]
        made = Table()
        for count in range(len(GO_FIRST) + 1):
            heads = [head for head in HEADS if head not in GO_FIRST[:count]]
            made = _tight(table(heads, [[row[head] for head in heads] for row in rows], right=HEADS[3:]))
            if Measurement.get(console, options.update(width=1000), made).maximum <= options.max_width + PADDING:
                break
        yield made
        if hidden:
            unwell = sum(region.status != HEALTHY for region in hidden)
            words = f"{unwell} of them not healthy" if unwell else "all of them healthy"
            yield _line(
                f"{plural(len(hidden), 'more region')}, {words}: `primacy regions`", "bold red" if unwell else "dim"
            )


def _region_row(region: region_pb2.Region, reads: Mapping[str, float]) -> dict[str, Cell]:
    load = region.load
    name = word(region_pb2.RegionStatus, region.status) or "UNKNOWN"
    connected = sum(agent.connected for agent in region.agents)
    return {
        "REGION": Text(region.name, style="bold" if region.active else ""),
        "STATUS": Text(f"{STATUS_GLYPHS.get(name, '?')} {name}", style=STATUSES.get(name, "")),
        "ROLE": role_text(region),
        "READS": share(reads.get(region.name, 0.0)),
        "AGENTS": f"{connected}/{len(region.agents)}" if region.agents else "none",
        "RATE": f"{number(load.request_rate)}/s" if load.HasField("request_rate") else "-",
        "ERRORS": f"{load.error_rate * 100:.1f} %" if load.HasField("error_rate") else "-",
        "LATENCY": span(load.latency_ns) if load.HasField("latency_ns") else "-",
        "LOAD": f"{load.utilisation * 100:.0f} %" if load.HasField("utilisation") else "-",
    }


def _replication(details: Details) -> Renderable:
    """One line: who is behind, and what waits for somebody."""
    found = details.replication
    if found is None:
        return _line(f"log: not known ({details.replication_fault})", "yellow")
    if not found.head:
        return _line("log: empty")
    text = Text(f"log: entry {found.head}", no_wrap=True, overflow="ellipsis")
    for region in found.regions:
        text.append(f", {region.region} ")
        if not region.heard:
            text.append("not heard", "bold red")
        elif region.lag_entries and region.lag_age.ToNanoseconds() >= BEHIND_NS:
            text.append(f"{region.lag_entries} behind ({span(region.lag_age.ToNanoseconds())})", "yellow")
        else:
            text.append("keeps up", "green")
        if region.parked:
            text.append(f" ({len(region.parked)} put aside)", "bold red")
    if found.open_conflicts:
        text.append(f"; {plural(found.open_conflicts, 'conflict')} to decide", "bold yellow")
    if found.at_risk_count:
        text.append(f"; {plural(found.at_risk_count, 'entry')} in one region only", "yellow")
    if found.stalled:
        text.append(
            f"; the active region has written nothing for {span(found.stalled_for.ToNanoseconds())}", "bold red"
        )
    return text


def _weights(status: GetStatusResponse) -> Table | None:
    rows = status.read_weights.rows
    if not rows:
        return None
    targets = [region.name for region in status.regions]
    made: list[list[Cell]] = []
    for row in rows:
        shares = [row.weights.get(target, 0.0) for target in targets]
        made.append([row.client_region, *(Text(share(one), style="" if one else "dim") for one in shares)])
    return _tight(table(("READS FROM", *targets), made, right=targets))


def _round_trips(sights: Iterable[Sight]) -> Table | None:
    """The mean over the agents at the beginning of each way."""
    ways: dict[tuple[str, str], list[Sight]] = {}
    for sight in sights:
        ways.setdefault((sight.observer.partition("/")[0], sight.region), []).append(sight)
    if not ways:
        return None
    names = sorted({name for way in ways for name in way})
    made: list[list[Cell]] = [
        [one, *(_trip(ways.get((one, other), [])) if one != other else Text("·", "dim") for other in names)]
        for one in names
    ]
    return _tight(table(("ROUND TRIP", *names), made, right=names))


def _trip(sights: Sequence[Sight]) -> Text:
    reached = [sight.rtt.ToNanoseconds() for sight in sights if sight.reachable and sight.HasField("rtt")]
    if not sights:
        return Text("?", style="dim")
    if not any(sight.reachable for sight in sights):
        return Text("✗ cut", style="bold red")
    return Text(span(round(sum(reached) / len(reached))) if reached else "?")


def _events(events: Iterable[Event]) -> Renderable:
    """The newest last, one line each."""
    return lines(
        _line(f"{clock(event.time)}  {event.message}", SEVERITIES.get(word(event_pb2.Severity, event.severity), ""))
        for event in reversed(list(events))
    )


def _line(text: str, style: str = "") -> Text:
    """Never folded: a screen whose lines come and go cannot be read."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _tight(made: Table) -> Table:
    for column in made.columns:
        column.no_wrap = True
    return made
