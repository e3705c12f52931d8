"""Regions as a table; `status`, `watch`, `regions` and `up` show the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from primacy.v1 import agent_pb2, override_pb2, region_pb2, routing_pb2
from rich.text import Text

from primacy_cli.prices import lag_text
from primacy_cli.tables import Renderable, table
from primacy_cli.words import clock, number, share, span, word

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


def role_text(region: region_pb2.Region) -> Text:
    """`active`, `standby, drained, cordoned`."""
    text = Text("active", style="bold green") if region.active else Text("standby")
    drain = word(override_pb2.DrainState, region.drain_state)
    for note in (drain if drain != "NONE" else "", "CORDONED" if region.cordoned else ""):
        if note:
            text.append(f", {note.lower()}", style="not bold yellow")
    return text


def regions_table(
    regions: Iterable[region_pb2.Region], reads: Mapping[str, float] | None = None, wide: bool = False
) -> Renderable:
    """One row for each region. `reads`: its share of all client regions' reads."""
    heads = ["REGION", "STATUS", "ROLE", "READS", "PRIORITY", "AGENTS", "LOAD", "LATENCY"]
    if reads is None:
        heads.remove("READS")
    if wide:
        heads += ["RATE", "ERRORS", "CAPACITY", "LAG", "LOCATION", "ENDPOINT", "LABELS", "ETAG", "SINCE"]
    heads.append("WHY")
    rows = []
    for region in regions:
        load = region.load
        row: list[str | Text] = [
            Text(region.name, style="bold" if region.active else ""),
            status_text(region.status),
            role_text(region),
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
                lag_text(region.lag),
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
