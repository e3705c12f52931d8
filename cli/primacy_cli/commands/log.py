"""`primacy log`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import CommandFailed
from primacy_cli.session import CALL_S_MAX, Session, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import Entry
    from primacy.v1.replication_service_pb2 import WatchEntriesResponse

    from primacy_cli.tables import Renderable

KINDS = {"model": 1, "config": 2, "heartbeat": 3}
"""Word -> EntryKind."""


@click.group("log", invoke_without_command=True)
@with_session
@click.pass_context
def command(context: click.Context, session: Session) -> None:
    """Show the log of models and documents. Alone, it lists the newest entries.

    \b
    Examples:
        primacy log
        primacy log list --key app/limits.yaml
        primacy log watch
    """
    if context.invoked_subcommand is None:
        _list(session, "", None, 20)


@command.command("list")
@click.option("--key", default="", metavar="KEY", help="Only of this model or document.")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only of this kind; heartbeats come only so.")
@click.option("-n", "--limit", default=20, show_default=True, type=click.IntRange(1), help="Newest entries to show.")
@with_session
def list_entries(session: Session, key: str, kind: str | None, limit: int) -> None:
    """List entries that are still kept. The newest stand last.

    \b
    Example:
        primacy log list --kind model -n 5
    """
    _list(session, key, kind, limit)


def _list(session: Session, key: str, kind: str | None, limit: int) -> None:
    from primacy.v1.replication_pb2 import EntryKind
    from primacy.v1.replication_service_pb2 import ListEntriesRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.paging import all_pages

    number = EntryKind.ValueType(KINDS[kind] if kind else 0)
    request = ListEntriesRequest(group=session.group, key=key, kind=number)
    stub = ReplicationServiceStub(session.channel)
    response = all_pages(session, stub.ListEntries, request, "entries", limit)
    session.show(response, lambda: _table(reversed(response.entries), session.wide))


def _table(entries: Iterable[Entry], wide: bool) -> Renderable:
    from primacy.v1 import replication_pb2

    from primacy_cli.tables import table
    from primacy_cli.words import clock, size, word

    rows = []
    for entry in entries:
        safety = word(replication_pb2.EntrySafety, entry.safety).lower().replace("_", " ")
        notes = [text for text in ("removed" if entry.removed else "", entry.conflict_id, safety) if text]
        row = [
            str(entry.sequence),
            clock(entry.sequence_time),
            word(replication_pb2.EntryKind, entry.kind).lower(),
            entry.key,
            str(entry.version or ""),
            size(entry.size),
            entry.origin,
            str(entry.epoch or ""),
        ]
        if wide:
            row += [str(entry.parent or ""), entry.agent, entry.id, entry.digest[:16]]
        rows.append((*row, ", ".join(notes), entry.message))
    more = ("PARENT", "AGENT", "ID", "DIGEST") if wide else ()
    heads = ("ENTRY", "TIME", "KIND", "KEY", "VERSION", "SIZE", "BY", "EPOCH", *more, "NOTE", "MESSAGE")
    return table(heads, rows, right=("ENTRY", "VERSION", "SIZE", "EPOCH", "PARENT")) if rows else "No such entry."


@command.command("show")
@click.argument("sequence", type=click.IntRange(1))
@with_session
def show(session: Session, sequence: int) -> None:
    """Show one entry: who wrote it, which region has applied it, and its document.

    \b
    Example:
        primacy log show 42
    """
    entry = _entry(session, sequence)
    if not session.for_people:
        session.print_message(entry)
        return
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.entry_screen import entry_screen
    from primacy_cli.tables import print_tables

    stub = ReplicationServiceStub(session.channel)
    status = session.ask(stub.GetReplicationStatus, GetReplicationStatusRequest(group=session.group))
    print_tables(entry_screen(entry, status))
    if entry.content:
        text = entry.content.decode(errors="replace")
        click.echo("")
        click.echo(text, nl=not text.endswith("\n"))


def _entry(session: Session, sequence: int) -> Entry:
    """The first that a watch from there sends, if it is that one. Raises CommandFailed."""
    from primacy.v1.replication_service_pb2 import WatchEntriesRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = WatchEntriesRequest(group=session.group, from_sequence=sequence, with_content=True)
    with session.failures():
        call = ReplicationServiceStub(session.channel).WatchEntries(request, timeout=CALL_S_MAX)
        for batch in call:
            call.cancel()
            if batch.entries and batch.entries[0].sequence == sequence:
                return batch.entries[0]
            break
    raise CommandFailed(f"entry {sequence} is not kept, or is a heartbeat", 1, "primacy log list")


@command.command("watch")
@click.option("--key", default="", metavar="KEY", help="Only of this model or document.")
@click.option("--from", "first", default=0, type=click.IntRange(0), metavar="N", help="[default: the next entry]")
@with_session
def watch(session: Session, key: str, first: int) -> None:
    """Print each entry as it is sequenced, until Ctrl-C. Heartbeats are left out.

    \b
    Examples:
        primacy log watch --key app/limits.yaml
        primacy log watch --from 1 -o json
    """
    with suppress(KeyboardInterrupt):
        _watch(session, key, first)


def _watch(session: Session, key: str, following: int) -> None:
    from primacy.v1 import replication_pb2
    from primacy.v1.replication_service_pb2 import WatchEntriesRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.paging import watched
    from primacy_cli.words import clock, size, word

    def begin() -> Iterator[WatchEntriesResponse]:
        request = WatchEntriesRequest(group=session.group, from_sequence=following, key=key)
        return ReplicationServiceStub(session.channel).WatchEntries(request)

    for batch in watched(session, begin):
        for entry in batch.entries:
            if session.for_people:
                kind = word(replication_pb2.EntryKind, entry.kind).lower()
                what = "removed" if entry.removed else size(entry.size)
                click.echo(
                    f"{entry.sequence:>8}  {clock(entry.sequence_time)}  {kind:<6}  {entry.key} version "
                    f"{entry.version}, {what}, by {entry.origin}" + (f": {entry.message}" if entry.message else "")
                )
            else:
                session.print_message(entry, one_line=True)
        following = max(following, batch.head + 1)
