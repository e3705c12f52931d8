"""The whole group on one screen: `status`, `watch` and `up` show the same."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import election_pb2, override_pb2, region_pb2, routing_pb2
from primacy.v1.status_service_pb2 import GetStatusResponse
from rich.text import Text

from primacy_cli.elections_table import awaits
from primacy_cli.overrides_table import countdown, overrides_table
from primacy_cli.regions_table import read_shares, regions_table
from primacy_cli.tables import Renderable, facts, lines, stack, table
from primacy_cli.words import clock, length, plural, span, word

SHOWN_MAX = 3
"""Agents that are named in one line."""


def group_facts(status: GetStatusResponse, age_ns: int = 0) -> Renderable:
    """Who is active, what moves, and what is wrong. `age_ns`: how long ago; countdowns go on meanwhile."""
    return facts(
        [
            ("group", status.group),
            ("active", _active(status, age_ns)),
            ("move", _move(status.failover) if status.HasField("failover") else ""),
            ("decide", Text(awaits(status.failover) if status.HasField("failover") else "", "bold yellow")),
            ("paused", _paused(status, age_ns)),
            ("self-doubt", _self_doubt(status, age_ns) if status.HasField("self_doubt") else ""),
            ("doubt", _doubt(status) if status.HasField("doubt") else ""),
            ("panic", Text("so few regions look healthy that reads ignore health", "bold red") if status.panic else ""),
            ("reads", word(routing_pb2.RoutingStrategy, status.read_weights.strategy)),
            ("local shift", Text(shunning(status.regions), "bold yellow")),
            ("failsafe", status.coordinator.failsafe_note),
        ]
    )


def shunning(regions: Iterable[region_pb2.Region]) -> str:
    """Which agents move reads by themselves, for one line; empty when none does."""
    found: dict[str, list[str]] = {}
    for region in regions:
        for agent in region.agents:
            if agent.connected and agent.shunned:
                found.setdefault(", ".join(agent.shunned), []).append(f"{region.name}/{agent.agent}")
    return "; ".join(
        f"{', '.join(agents[:SHOWN_MAX])}{' and others' if len(agents) > SHOWN_MAX else ''} see {dead} dead and move "
        "reads away by themselves"
        for dead, agents in sorted(found.items())
    )


def _active(status: GetStatusResponse, age_ns: int) -> Text:
    lease = status.lease
    if status.active_region:
        text = Text(status.active_region, style="bold green")
        text.append(f", epoch {lease.accepted_epoch}", style="not bold default")
        if lease.HasField("remaining"):
            left_ns = lease.remaining.ToNanoseconds() - age_ns
            lease_text = (
                f"lease runs out in {span(left_ns)} unless renewed" if left_ns > 0 else "lease may have run out"
            )
            text.append(f", {lease_text}", style="not bold default" if left_ns > 0 else "not bold yellow")
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
    state = word(election_pb2.FailoverState, failover.state).lower().replace("_", " ")
    target = failover.to_region or "?"
    return Text(f"{kind} {failover.from_region or 'none'} → {target}: {state} ({failover.cause})", style="yellow")


def _paused(status: GetStatusResponse, age_ns: int) -> Text:
    for override in status.overrides:
        if override.kind == override_pb2.OVERRIDE_KIND_PAUSE:
            text = Text("no automatic moves for ", style="yellow")
            text.append_text(countdown(override, age_ns))
            text.append(f": {override.reason} ({override.owner})")
            if not status.active_region:
                text.append("; no region is active: `primacy resume` or `primacy failover`", style="bold red")
            return text
    return Text("")


def _self_doubt(status: GetStatusResponse, age_ns: int) -> Text:
    doubt = status.self_doubt
    left = span(max(0, doubt.remaining.ToNanoseconds() - age_ns))
    return Text(f"{doubt.name}: {doubt.reason}; no verdicts and no elections for {left} at most", style="bold yellow")


def _doubt(status: GetStatusResponse) -> Text:
    then = "the wait runs" if status.doubt.confirmed else "see `primacy recover`"
    return Text(f"{status.doubt.reason}: nothing is granted or renewed; {then}", style="bold red")


def status_screen(status: GetStatusResponse, events_shown: int, wide: bool = False, age_ns: int = 0) -> Renderable:
    events = list(status.events)[:events_shown]
    return stack(
        group_facts(status, age_ns),
        regions_table(status.regions, read_shares(status.read_weights), wide),
        overrides_table(status.overrides, age_ns, wide) if status.overrides else None,
        lines(f"{clock(event.time)}  {event.message}" for event in reversed(events)) if events else None,
        _coordinator(status) if wide else None,
        _sights(status) if wide and status.sights else None,
    )


def _coordinator(status: GetStatusResponse) -> Renderable:
    info = status.coordinator
    return facts(
        [
            ("coordinator", f"version {info.version}, since {clock(info.start_time)}"),
            ("store", f"{info.store_id}, run {info.run_id}"),
            ("weights", f"version {status.weights_version}"),
            ("regions", plural(len(status.regions), "region")),
        ]
    )


def _sights(status: GetStatusResponse) -> Renderable:
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
