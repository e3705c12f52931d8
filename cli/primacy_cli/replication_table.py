"""How far each region has come in the log: `replication` shows it once or goes on showing it."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import replication_pb2
from primacy.v1.replication_pb2 import RegionReplication
from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse
from rich.text import Text

from primacy_cli.tables import Cell, Renderable, facts, stack, table
from primacy_cli.words import clock, length, plural, size, word

AT_RISK_SHOWN = 10
BEHIND_NS = 1_000_000_000
"""A line says that a region is behind from here on: shorter than that, each has always just got the newest entry."""


def replication_screen(status: GetReplicationStatusResponse, wide: bool) -> Renderable:
    parked = [(region, one) for region in status.regions for one in region.parked]
    transfers = [one for region in status.regions for one in region.transfers]
    risky = status.at_risk if wide else status.at_risk[:AT_RISK_SHOWN]
    return stack(
        _facts(status),
        _regions(status.regions, wide) if status.regions else "No region is registered.",
        _transfers(transfers) if transfers else None,
        _parked(parked) if parked else None,
        _at_risk(risky) if risky else None,
    )


def _facts(status: GetReplicationStatusResponse) -> Renderable:
    head = f"entry {status.head}" if status.head else "the log is empty"
    if status.head and status.HasField("head_time"):
        head += f", sequenced {clock(status.head_time)}"
    stalled = f"the active region has written nothing for {length(status.stalled_for)}" if status.stalled else ""
    waiting = f"{plural(status.open_conflicts, 'conflict')} to decide: `primacy conflict list --state open`"
    count = status.at_risk_count
    return facts(
        [
            ("group", status.group),
            ("newest", head),
            ("stalled", Text(stalled, style="bold red")),
            ("open", Text(waiting if status.open_conflicts else "", style="yellow")),
            ("at risk", Text(f"{plural(count, 'entry')} in fewer than two regions" if count else "", style="yellow")),
        ]
    )


def _regions(regions: Iterable[RegionReplication], wide: bool) -> Renderable:
    heads = ["REGION", "APPLIED", "LAG", "BYTES", "AGE", "PARKED", *(("UPLINK",) if wide else ()), "NOTE"]
    return table(heads, [_row(region, wide) for region in regions], right=heads[1:-1])


def _row(region: RegionReplication, wide: bool) -> list[Cell]:
    if not region.heard:
        # Nothing that would be true is known: a dash, never a zero.
        unknown: list[Cell] = ["-"] * (6 if wide else 5)
        return [region.region, *unknown, Text("not heard", style="bold red")]
    notes = Text("")
    if region.missing_models:
        notes.append(f"lacks {', '.join(region.missing_models)}", style="bold red")
    style = "yellow" if region.lag_entries else "green"
    row: list[Cell] = [
        region.region,
        str(region.settled),
        Text(str(region.lag_entries), style=style),
        size(region.lag_bytes),
        length(region.lag_age) if region.lag_entries else "-",
        Text(str(len(region.parked)), style="bold red") if region.parked else "-",
    ]
    if wide:
        row.append(f"{size(region.uplink)}/s" if region.uplink else "-")
    return [*row, notes]


def _transfers(transfers: Iterable[replication_pb2.Transfer]) -> Renderable:
    rows = [
        (
            one.agent,
            str(one.sequence),
            one.key,
            f"{size(one.received)} of {size(one.size)}",
            f"{one.received / one.size:.0%}" if one.size else "-",
        )
        for one in transfers
    ]
    return table(("FETCHING", "ENTRY", "KEY", "HERE", ""), rows, right=("ENTRY", "HERE", ""))


def _parked(parked: list[tuple[RegionReplication, replication_pb2.ParkedEntry]]) -> Renderable:
    rows = [
        (str(one.sequence), one.key, one.agent or region.region, str(one.attempts), one.reason)
        for region, one in parked
    ]
    region, one = parked[0]
    return stack(
        table(("PARKED", "KEY", "AGENT", "TRIES", "REASON"), rows, right=("PARKED", "TRIES")),
        f"Mend the cause, then `primacy retry {region.region} {one.sequence}`, or `primacy retry --all`.",
    )


def _at_risk(entries: Iterable[replication_pb2.Entry]) -> Renderable:
    rows = [
        (
            str(entry.sequence),
            word(replication_pb2.EntryKind, entry.kind).lower(),
            entry.key,
            size(entry.size),
            entry.agent,
            _safety(entry),
        )
        for entry in entries
    ]
    return table(("AT RISK", "KIND", "KEY", "SIZE", "WRITTEN BY", "CONTENT"), rows, right=("AT RISK", "SIZE"))


def _safety(entry: replication_pb2.Entry) -> Text:
    if entry.safety == replication_pb2.ENTRY_SAFETY_UNAVAILABLE:
        return Text("no region that is heard has it", style="bold red")
    return Text("one region alone has it", style="yellow")


def state_lines(status: GetReplicationStatusResponse) -> list[str]:
    """The same in lines, without what changes by itself while all is well."""
    found = []
    if status.stalled:
        found.append("stalled: the active region writes nothing")
    if status.open_conflicts:
        found.append(f"{plural(status.open_conflicts, 'conflict')} to decide")
    if status.at_risk_count:
        found.append(f"{plural(status.at_risk_count, 'entry')} at risk")
    return [*found, *(f"{region.region}: {_state(region)}" for region in status.regions)]


def _state(region: RegionReplication) -> str:
    if not region.heard:
        return "not heard"
    is_behind = region.lag_entries and region.lag_age.ToNanoseconds() >= BEHIND_NS
    texts = [f"behind by {plural(region.lag_entries, 'entry')}" if is_behind else "keeps up"]
    texts += [f"parked {one.sequence} ({one.key}): {one.reason}" for one in region.parked]
    texts += [f"lacks {name}" for name in region.missing_models]
    return ", ".join(texts)
