"""`primacy conflict`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.conflict_resolve import resolve
from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import Conflict, Entry
    from primacy.v1.replication_service_pb2 import ListConflictsResponse

    from primacy_cli.tables import Renderable

STATES = {"open": 1, "resolved": 2, "rejected": 3}
"""Word -> ConflictState."""
SIDES = ("base", "current", "incoming")


@click.group("conflict")
def command() -> None:
    """See writes that did not know of each other, and decide between them. Nothing of either is lost.

    BASE is the version that both knew, CURRENT the one that was in force, INCOMING the one that came second.

    \b
    Examples:
        primacy conflict list --state open
        primacy conflict show cf-7
        primacy conflict resolve cf-7 --take incoming
    """


@command.command("list")
@click.option("--state", type=click.Choice(list(STATES)), help="Only those.")
@click.option("--key", default="", metavar="KEY", help="Only of this document.")
@click.option("-n", "--limit", default=50, show_default=True, type=click.IntRange(1), help="Newest to show.")
@with_session
def list_conflicts(session: Session, state: str | None, key: str, limit: int) -> None:
    """List conflicts, the newest first.

    \b
    Example:
        primacy conflict list --state open
    """
    from primacy.v1.replication_pb2 import ConflictState
    from primacy.v1.replication_service_pb2 import ListConflictsRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.paging import all_pages

    number = ConflictState.ValueType(STATES[state] if state else 0)
    request = ListConflictsRequest(group=session.group, state=number, key=key)
    stub = ReplicationServiceStub(session.channel)
    response = all_pages(session, stub.ListConflicts, request, "conflicts", limit)
    session.show(response, lambda: _table(response))


def _table(response: ListConflictsResponse) -> Renderable:
    from primacy.v1 import replication_pb2
    from rich.text import Text

    from primacy_cli.tables import table
    from primacy_cli.words import clock, word

    rows = []
    for one in response.conflicts:
        state = word(replication_pb2.ConflictState, one.state)
        rows.append(
            (
                one.id,
                one.key,
                Text(state, style="bold yellow" if state == "OPEN" else ""),
                one.cause,
                one.decided_by or "-",
                one.current.agent or "-",
                one.incoming.agent,
                str(one.result) if one.result else "-",
                clock(one.create_time),
            )
        )
    heads = ("ID", "KEY", "STATE", "CAUSE", "DECIDED BY", "CURRENT BY", "INCOMING BY", "ENTRY", "TIME")
    return table(heads, rows, right=("ENTRY",)) if rows else "No conflict."


@command.command("show")
@click.argument("conflict_id", metavar="ID")
@click.option("--text", is_flag=True, help="What each side did to the text, instead of the fields.")
@click.option("--side", type=click.Choice(SIDES), help="Print this version alone, as it was written.")
@with_session
def show(session: Session, conflict_id: str, text: bool, side: str | None) -> None:
    """Show one conflict: every field in which the three versions differ, and who changed it.

    What both changed in different ways is a clash. Long values are cut; -o wide shows them whole.

    \b
    Examples:
        primacy conflict show cf-7
        primacy conflict show cf-7 --text
        primacy conflict show cf-7 --side incoming > mine.yaml
    """
    from primacy_cli.conflict_resolve import one_conflict

    conflict = one_conflict(session, conflict_id)
    if side is not None:
        _print_side(conflict, side)
    elif session.for_people:
        from primacy_cli.tables import print_tables

        print_tables(_shown(conflict, text, session.wide))
    else:
        session.print_message(conflict)


def _print_side(conflict: Conflict, side: str) -> None:
    """Raises CommandFailed when there is no such text."""
    from primacy.v1.replication_pb2 import ENTRY_KIND_CONFIG

    entry = {"base": conflict.base, "current": conflict.current, "incoming": conflict.incoming}[side]
    why = ""
    if not entry.id:
        why = "there is none, or it is not kept any more"
    elif conflict.kind != ENTRY_KIND_CONFIG:
        why = "a model's content is with the agents"
    elif entry.removed:
        why = f"it removes {conflict.key}"
    if why:
        raise CommandFailed(
            f"{side} of {conflict.id} has no text: {why}", REFUSED, f"primacy conflict show {conflict.id}"
        )
    text = entry.content.decode(errors="replace")
    click.echo(text, nl=not text.endswith("\n"))


def _shown(conflict: Conflict, text: bool, whole: bool) -> Renderable:
    from primacy.v1 import replication_pb2

    from primacy_cli.tables import lines, stack
    from primacy_cli.three_way import texts, three_way

    differences: Renderable | None = None
    if conflict.kind == replication_pb2.ENTRY_KIND_CONFIG:
        differences = texts(conflict) if text else three_way(conflict, whole)
    advice = None
    if conflict.state == replication_pb2.CONFLICT_STATE_OPEN:
        resolving = f"primacy conflict resolve {conflict.id}"
        advice = lines([f"To decide: `{resolving} --take current`, `--take incoming` or `--content @FILE`."])
    return stack(_facts(conflict), differences, advice)


def _facts(conflict: Conflict) -> Renderable:
    from primacy.v1 import replication_pb2
    from rich.text import Text

    from primacy_cli.tables import facts
    from primacy_cli.words import word

    state = word(replication_pb2.ConflictState, conflict.state)
    return facts(
        [
            ("conflict", conflict.id),
            ("key", conflict.key),
            ("state", Text(state, style="bold yellow" if state == "OPEN" else "")),
            ("cause", _cause(conflict.cause)),
            ("decided by", _decided(conflict)),
            ("result", _result(conflict)),
            ("clashes", Text(", ".join(pointer or "the whole" for pointer in conflict.clashes), style="bold red")),
            ("base", _side(conflict.base) if conflict.HasField("base") else "none, or not kept any more"),
            ("current", _side(conflict.current) if conflict.HasField("current") else "none"),
            ("incoming", _side(conflict.incoming)),
        ]
    )


def _cause(cause: str) -> str:
    return {
        "CONCURRENT": "neither writer knew of the other",
        "STALE_EPOCH": "the second was written under an epoch that was over",
        "KEY_TAKEN": "one key is the beginning of another, and each is a file",
    }.get(cause, cause)


def _decided(conflict: Conflict) -> str:
    from primacy_cli.words import clock

    if not conflict.HasField("decide_time"):
        return ""
    return f"{conflict.decided_by}{f' ({conflict.owner})' if conflict.owner else ''}, {clock(conflict.decide_time)}"


def _result(conflict: Conflict) -> str:
    from primacy.v1 import replication_pb2

    if conflict.result:
        return f"entry {conflict.result} of the log"
    return {
        replication_pb2.CONFLICT_STATE_OPEN: "none yet: the current version stays in force meanwhile",
        replication_pb2.CONFLICT_STATE_REJECTED: "the second write was refused",
    }.get(conflict.state, "the current version stayed in force")


def _side(entry: Entry) -> str:
    from primacy_cli.words import clock, size

    which = f"version {entry.version}" if entry.version else "no version of its own"
    what = "removes it" if entry.removed else size(entry.size)
    when = f", sequenced {clock(entry.sequence_time)}" if entry.HasField("sequence_time") and entry.sequence else ""
    words = f": {entry.message}" if entry.message else ""
    return f"{which}, {what}, by {entry.agent or entry.origin}{when}{words}"


command.add_command(resolve)
