"""Moves and rankings as tables."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import election_pb2
from rich.console import Group
from rich.text import Text

from primacy_cli.prices import price_text
from primacy_cli.tables import Renderable, facts, lines, stack, table
from primacy_cli.words import clock, length, number, word

_STYLES = {"SUCCEEDED": "green", "FAILED": "bold red", "ABORTED": "yellow", "AWAITING_APPROVAL": "bold yellow"}


def state_text(state: int) -> Text:
    name = word(election_pb2.FailoverState, state)
    return Text(name, style=_STYLES.get(name, "cyan"))


def candidates_table(candidates: Iterable[election_pb2.Candidate]) -> Renderable:
    known = list(candidates)
    priced = any(candidate.HasField("price") for candidate in known)
    rows = []
    for candidate in known:
        row: list[str | Text] = [
            str(candidate.rank) if candidate.rank else "-",
            candidate.region,
            Text("yes", style="green") if candidate.eligible else Text("no", style="red"),
            f"{candidate.rule} (soft)" if candidate.rule and candidate.soft else candidate.rule,
            ", ".join(f"{name} {number(value)}" for name, value in sorted(candidate.scores.items())),
        ]
        if priced:
            row.append(price_text(candidate.price) if candidate.HasField("price") else "")
        rows.append([*row, candidate.detail])
    heads = ("RANK", "REGION", "ELIGIBLE", "RULE", "SCORES", *(("PRICE",) if priced else ()), "WHY")
    return table(heads, rows, right=("RANK",))


def failovers_table(failovers: Iterable[election_pb2.Failover], wide: bool) -> Renderable:
    heads = ["STARTED", "KIND", "STATE", "FROM", "TO", "EPOCH", "TOOK"]
    if wide:
        heads += ["ID", "OWNER", "REASON", "PRICE", "APPROVED BY", "HOOKS"]
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
            price = price_text(failover.price) if failover.HasField("price") else ""
            hooks = ", ".join(f"{run.hook} {run.outcome}" for run in failover.hooks)
            row += [failover.id, failover.owner, failover.reason, price, failover.approved_by, hooks]
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
                ("price", price_text(failover.price) if failover.HasField("price") else ""),
                ("decide", Text(awaits(failover), style="bold yellow")),
                ("approved by", failover.approved_by),
                ("rules passed over", ", ".join(failover.override_rules)),
                ("asked by", f"{failover.owner}: {failover.reason or 'no reason given'}" if failover.owner else ""),
                ("took", _took(failover)),
                ("why", failover.explanation),
            ]
        ),
        table(("PHASE", "TOOK", "BEGAN", "NOTE"), phases, right=("TOOK",)) if phases else None,
        candidates_table(failover.candidates) if failover.candidates else None,
        hooks_table(failover.hooks) if failover.hooks else None,
        lines(failover.evidence) if wide and failover.evidence else None,
    )


def hooks_table(hooks: Iterable[election_pb2.HookRun]) -> Renderable:
    """Each hook with what it printed below it."""
    shown: list[Renderable] = []
    for run in hooks:
        bad = run.outcome != "succeeded"
        exited = f", exit code {run.exit_code}" if bad and run.HasField("exit_code") and run.exit_code >= 0 else ""
        text = Text(
            f"{clock(run.end_time)}  {run.hook} of {run.agent} {run.outcome}{exited} after {length(run.duration)}"
        )
        text.stylize("bold red" if bad else "")
        shown.append(text)
        shown.extend(Text(f"    {line}") for line in run.output.splitlines())
    return Group(Text("HOOKS", style="bold"), *shown)


def awaits(failover: election_pb2.Failover) -> str:
    """What an operator has to do for a move that waits for one; empty when it waits for nobody."""
    if failover.state != election_pb2.FAILOVER_STATE_AWAITING_APPROVAL:
        return ""
    until = f" (until {clock(failover.approval_expire_time)})" if failover.HasField("approval_expire_time") else ""
    return f"`primacy failover --approve {failover.id}` or `--cancel {failover.id}`{until}"
