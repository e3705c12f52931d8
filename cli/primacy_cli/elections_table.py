"""Moves and rankings as tables."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import election_pb2
from rich.text import Text

from primacy_cli.tables import Renderable, facts, lines, stack, table
from primacy_cli.words import clock, length, number, word

_STYLES = {"SUCCEEDED": "green", "FAILED": "bold red", "ABORTED": "yellow"}


def state_text(state: int) -> Text:
    name = word(election_pb2.FailoverState, state)
    return Text(name, style=_STYLES.get(name, "cyan"))


def candidates_table(candidates: Iterable[election_pb2.Candidate]) -> Renderable:
    rows = [
        (
            str(candidate.rank) if candidate.rank else "-",
            candidate.region,
            Text("yes", style="green") if candidate.eligible else Text("no", style="red"),
            f"{candidate.rule} (soft)" if candidate.rule and candidate.soft else candidate.rule,
            ", ".join(f"{name} {number(value)}" for name, value in sorted(candidate.scores.items())),
            candidate.detail,
        )
        for candidate in candidates
    ]
    return table(("RANK", "REGION", "ELIGIBLE", "RULE", "SCORES", "WHY"), rows, right=("RANK",))


def failovers_table(failovers: Iterable[election_pb2.Failover], wide: bool) -> Renderable:
    heads = ["STARTED", "KIND", "STATE", "FROM", "TO", "EPOCH", "TOOK"]
    if wide:
        heads += ["ID", "OWNER", "REASON"]
    rows = []
    for failover in failovers:
        row: list[str | Text] = [
            clock(failover.start_time),
            word(election_pb2.FailoverKind, failover.kind).lower(),
            state_text(failover.state),
            failover.from_region or "-",
            failover.to_region or "-",
            str(failover.epoch) if failover.epoch else "-",
            _took(failover),
        ]
        if wide:
            row += [failover.id, failover.owner, failover.reason]
        rows.append([*row, failover.cause])
    return table([*heads, "CAUSE"], rows, right=("EPOCH", "TOOK"))


def _took(failover: election_pb2.Failover) -> str:
    """The phases' times, which no step of the wall clock can falsify."""
    from primacy_cli.words import span

    if not failover.HasField("end_time"):
        return "…"
    return span(sum(phase.duration.ToNanoseconds() for phase in failover.phases))


def failover_details(failover: election_pb2.Failover, wide: bool = False) -> Renderable:
    """One move with its phases, what it rests on, and how the candidates did."""
    phases = [
        (phase.name, length(phase.duration) if phase.HasField("end_time") else "…", clock(phase.start_time), phase.note)
        for phase in failover.phases
    ]
    return stack(
        facts(
            [
                ("move", f"{failover.id}, {word(election_pb2.FailoverKind, failover.kind).lower()}"),
                ("state", state_text(failover.state)),
                ("from", failover.from_region or "none"),
                ("to", failover.to_region or "none"),
                ("epoch", str(failover.epoch) if failover.epoch else ""),
                ("cause", failover.cause),
                ("asked by", f"{failover.owner}: {failover.reason or 'no reason given'}" if failover.owner else ""),
                ("took", _took(failover)),
                ("why", failover.explanation),
            ]
        ),
        table(("PHASE", "TOOK", "BEGAN", "NOTE"), phases, right=("TOOK",)) if phases else None,
        candidates_table(failover.candidates) if failover.candidates else None,
        lines(failover.evidence) if wide and failover.evidence else None,
    )
