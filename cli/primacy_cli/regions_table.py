"""Regions and the state of the group as tables; `status`, `regions` and `up` show the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from primacy.v1 import agent_pb2, election_pb2, region_pb2, routing_pb2
from rich.text import Text

from primacy_cli.tables import Renderable, facts, lines, stack, table
from primacy_cli.words import clock, length, number, plural, share, span, word

if TYPE_CHECKING:
    from primacy.v1 import status_service_pb2

STYLES = {
    "HEALTHY": "green",
    "DEGRADED": "yellow",
    "SUSPECT": "yellow",
    "RECOVERING": "cyan",
    "JOINING": "cyan",
    "DOWN": "bold red",
    "UNKNOWN": "magenta",
}


def status_text(status: int) -> Text:
    name = word(region_pb2.RegionStatus, status) or "UNKNOWN"
    return Text(name, style=STYLES.get(name, ""))


def regions_table(
    regions: Iterable[region_pb2.Region], reads: Mapping[str, float] | None = None, wide: bool = False
) -> Renderable:
    """One row for each region. `reads`: its share of all client regions' reads."""
    heads = ["REGION", "STATUS", "ROLE", "READS", "PRIORITY", "AGENTS", "LOAD", "LATENCY"]
    if reads is None:
        heads.remove("READS")
    if wide:
        heads += ["RATE", "ERRORS", "CAPACITY", "LOCATION", "ENDPOINT", "LABELS", "ETAG", "SINCE"]
    heads.append("WHY")
    rows = []
    for region in regions:
        load = region.load
        row: list[str | Text] = [
            Text(region.name, style="bold" if region.active else ""),
            status_text(region.status),
            Text("active", style="bold green") if region.active else "standby",
        ]
        if reads is not None:
            row.append(share(reads.get(region.name, 0.0)))
        row += [
            str(region.priority),
            _agents(region.agents),
            f"{load.utilisation * 100:.0f} %" if load.HasField("utilisation") else "",
            span(load.latency_ns) if load.HasField("latency_ns") else "",
        ]
        if wide:
            place = region.location
            row += [
                f"{number(load.request_rate)}/s" if load.HasField("request_rate") else "",
                f"{load.error_rate * 100:.1f} %" if load.HasField("error_rate") else "",
                number(region.capacity),
                f"{place.latitude:g},{place.longitude:g}" if region.HasField("location") else "",
                region.endpoint,
                ",".join(f"{key}={value}" for key, value in sorted(region.labels.items())),
                region.etag,
                clock(region.status_since_time) if region.HasField("status_since_time") else "",
            ]
        row.append(region.status_reason)
        rows.append(row)
    return table(heads, rows, right=("READS", "PRIORITY", "LOAD", "LATENCY", "RATE", "ERRORS", "CAPACITY"))


def _agents(agents: Iterable[agent_pb2.RegionAgent]) -> str:
    known = list(agents)
    if not known:
        return "none"
    return f"{sum(agent.connected for agent in known)}/{len(known)}"


def read_shares(weights: routing_pb2.Weights) -> dict[str, float]:
    """What each region gets when every client region sends alike."""
    shares: dict[str, float] = {}
    for row in weights.rows:
        for region, value in row.weights.items():
            shares[region] = shares.get(region, 0.0) + value / len(weights.rows)
    return shares


def group_facts(status: status_service_pb2.GetStatusResponse) -> Renderable:
    """Who is active, what moves, and what is wrong."""
    return facts(
        [
            ("group", status.group),
            ("active", _active(status)),
            ("move", _move(status.failover) if status.HasField("failover") else ""),
            ("doubt", _doubt(status) if status.HasField("doubt") else ""),
            ("panic", Text("so few regions look healthy that reads ignore health", "bold red") if status.panic else ""),
            ("reads", word(routing_pb2.RoutingStrategy, status.read_weights.strategy)),
            ("failsafe", status.coordinator.failsafe_note),
        ]
    )


def _active(status: status_service_pb2.GetStatusResponse) -> Text:
    lease = status.lease
    if status.active_region:
        text = Text(status.active_region, style="bold green")
        text.append(f", epoch {lease.accepted_epoch}", style="not bold default")
        if lease.HasField("remaining"):
            text.append(f", lease runs out in {length(lease.remaining)} unless renewed", style="not bold default")
        return text
    text = Text("none", style="bold red")
    phase = word(election_pb2.LeasePhase, lease.phase)
    if phase not in ("", "NONE"):
        text.append(f", epoch {status.epoch} {phase.lower()} by {lease.holder}", style="not bold default")
    if lease.restart_wait.ToNanoseconds() > 0:
        wait = f"; nothing is offered for {length(lease.restart_wait)} after the coordinator's start"
        text.append(wait, style="not bold default")
    return text


def _move(failover: election_pb2.Failover) -> Text:
    kind = word(election_pb2.FailoverKind, failover.kind).lower()
    state = word(election_pb2.FailoverState, failover.state).lower()
    target = failover.to_region or "?"
    return Text(f"{kind} {failover.from_region or 'none'} → {target}: {state} ({failover.cause})", style="yellow")


def _doubt(status: status_service_pb2.GetStatusResponse) -> Text:
    then = "the wait runs" if status.doubt.confirmed else "see `primacy recover`"
    return Text(f"{status.doubt.reason}: nothing is granted or renewed; {then}", style="bold red")


def status_screen(status: status_service_pb2.GetStatusResponse, events_shown: int, wide: bool = False) -> Renderable:
    events = list(status.events)[:events_shown]
    return stack(
        group_facts(status),
        regions_table(status.regions, read_shares(status.read_weights), wide),
        lines(f"{clock(event.time)}  {event.message}" for event in reversed(events)) if events else None,
        _coordinator(status) if wide else None,
        _sights(status) if wide and status.sights else None,
    )


def _coordinator(status: status_service_pb2.GetStatusResponse) -> Renderable:
    info = status.coordinator
    return facts(
        [
            ("coordinator", f"version {info.version}, since {clock(info.start_time)}"),
            ("store", f"{info.store_id}, run {info.run_id}"),
            ("weights", f"version {status.weights_version}"),
            ("regions", plural(len(status.regions), "region")),
        ]
    )


def _sights(status: status_service_pb2.GetStatusResponse) -> Renderable:
    rows = [
        (
            sight.observer,
            sight.agent or f"{sight.region} (endpoint)",
            Text("yes", style="green") if sight.reachable else Text("no", style="red"),
            length(sight.rtt) if sight.HasField("rtt") else "",
            length(sight.age),
        )
        for sight in status.sights
    ]
    return table(("OBSERVER", "LOOKS AT", "REACHED", "ROUND TRIP", "AGE"), rows)
