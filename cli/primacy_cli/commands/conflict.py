"""`primacy conflict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import Conflict, Entry
    from primacy.v1.replication_service_pb2 import ListConflictsResponse

STATES = {"open": 1, "resolved": 2, "rejected": 3}
"""Word -> ConflictState."""


@click.group("conflict")
def command() -> None:
    """See writes that did not know of each other, and decide between them. Nothing of either is lost.

    \b
    Examples:
        primacy conflict list --state open
        primacy conflict show c-7
        primacy conflict resolve c-7 --take incoming
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


def _table(response: ListConflictsResponse) -> Any:
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
                one.current.origin,
                one.incoming.origin,
                str(one.result) if one.result else "-",
                clock(one.create_time),
            )
        )
    heads = ("ID", "KEY", "STATE", "CAUSE", "DECIDED BY", "IN FORCE BY", "SECOND BY", "ENTRY", "TIME")
    return table(heads, rows, right=("ENTRY",)) if rows else "No conflict."


def _get(session: Session, conflict_id: str) -> Conflict:
    from primacy.v1.replication_service_pb2 import ListConflictsRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = ListConflictsRequest(group=session.group, id=conflict_id, with_content=True)
    found = session.ask(ReplicationServiceStub(session.channel).ListConflicts, request).conflicts
    if not found:
        raise CommandFailed(f"there is no conflict {conflict_id!r}", 1, "primacy conflict list")
    return found[0]


@command.command("show")
@click.argument("conflict_id", metavar="ID")
@with_session
def show(session: Session, conflict_id: str) -> None:
    """Show one conflict: what each side changed of what both knew.

    \b
    Example:
        primacy conflict show c-7
    """
    conflict = _get(session, conflict_id)
    if not session.for_people:
        session.print_message(conflict)
        return
    from primacy_cli.tables import print_tables

    print_tables(_facts(conflict))
    _print_sides(conflict)


def _facts(conflict: Conflict) -> Any:
    from primacy.v1 import replication_pb2

    from primacy_cli.tables import facts
    from primacy_cli.words import clock, word

    state = word(replication_pb2.ConflictState, conflict.state)
    decided = f"{conflict.decided_by} {clock(conflict.decide_time)}" if conflict.HasField("decide_time") else ""
    return facts(
        [
            ("conflict", conflict.id),
            ("key", conflict.key),
            ("state", state),
            ("cause", _cause(conflict.cause)),
            ("decided by", f"{decided} {conflict.owner}".strip()),
            ("result", f"entry {conflict.result} of the log" if conflict.result else "the version in force stayed"),
            ("both changed", ", ".join(conflict.clashes)),
            ("base", _side(conflict.base) if conflict.HasField("base") else "none, or not kept any more"),
            ("in force", _side(conflict.current)),
            ("second", _side(conflict.incoming)),
        ]
    )


def _cause(cause: str) -> str:
    return {
        "CONCURRENT": "neither writer knew of the other",
        "STALE_EPOCH": "the second was written under an epoch that was over",
    }.get(cause, cause)


def _side(entry: Entry) -> str:
    from primacy_cli.words import clock

    which = f"version {entry.version}" if entry.version else "never in force"
    return f"{which}, by {entry.agent or entry.origin}" + (
        f", sequenced {clock(entry.sequence_time)}" if entry.HasField("sequence_time") and entry.sequence else ""
    )


def _print_sides(conflict: Conflict) -> None:
    """What each side made of the base, one below the other."""
    from primacy_cli.differences import print_diff

    base = conflict.base.content if conflict.HasField("base") else b""
    for title, entry in (("in force", conflict.current), ("second", conflict.incoming)):
        click.echo("")
        if entry.removed:
            click.echo(f"{title}: removes {conflict.key}")
        else:
            print_diff(base, entry.content, "base", title)


@command.command("resolve")
@click.argument("conflict_id", metavar="ID")
@click.option("--take", type=click.Choice(["current", "incoming"]), help="Whose version shall be in force.")
@click.option("--content", metavar="TEXT|@FILE", help="Instead: this document.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@click.option("--owner", "who", default="", metavar="NAME", help="Who decides. [default: you]")
@click.option("--if-version", type=click.IntRange(0), metavar="N", help="Only if this version of the key is in force.")
@with_session
def resolve(
    session: Session,
    conflict_id: str,
    take: str | None,
    content: str | None,
    reason: str,
    who: str,
    if_version: int | None,
) -> None:
    """Decide a conflict, or decide it anew. What does not win stays readable.

    \b
    Examples:
        primacy conflict resolve c-7 --take incoming
        primacy conflict resolve c-7 --content @merged.yaml --reason "both limits"
    """
    from primacy.v1.replication_service_pb2 import ResolveConflictRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    if (take is None) == (content is None):
        raise CommandFailed("give either --take or --content", USAGE, "primacy conflict resolve --help")
    request = ResolveConflictRequest(
        group=session.group, id=conflict_id, owner=who or owner(), reason=reason, if_version=if_version
    )
    if content is not None:
        request.content = _content(content)
    elif take == "current":
        request.take_current = True
    else:
        request.take_incoming = True
    response = session.ask(ReplicationServiceStub(session.channel).ResolveConflict, request)
    key = response.conflict.key
    after = f"entry {response.sequence} of the log" if response.sequence else "the version in force stays"
    session.show(response, lambda: f"{conflict_id} is decided for {key}: {after}")


def _content(value: str) -> bytes:
    if not value.startswith("@"):
        return value.encode()
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise CommandFailed(f"{value[1:]}: {error.strerror}", USAGE, "name a file that can be read") from error
