"""`primacy conflict resolve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, USAGE, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import Conflict, Entry
    from primacy.v1.replication_service_pb2 import ResolveConflictResponse


@click.command("resolve")
@click.argument("conflict_id", metavar="ID")
@click.option("--take", type=click.Choice(["current", "incoming"]), help="Which of the two shall be in force.")
@click.option("--content", metavar="TEXT|@FILE|-", help="Instead: this document.")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@click.option("--owner", "who", default="", metavar="NAME", help="Who decides. [default: you]")
@click.option("--if-version", type=click.IntRange(0), metavar="N", help="Only if this version of the key is in force.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def resolve(
    session: Session,
    conflict_id: str,
    take: str | None,
    content: str | None,
    reason: str,
    who: str,
    if_version: int | None,
    yes: bool,
) -> None:
    """Decide a conflict, or decide it anew. What does not win stays readable.

    Shows what changes in force and asks, unless --yes is given; then only what was shown is replaced.

    \b
    Examples:
        primacy conflict resolve cf-7 --take incoming
        primacy conflict resolve cf-7 --content @merged.yaml --reason "both limits" --yes
    """
    from primacy.v1.replication_service_pb2 import ResolveConflictRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    if (take is None) == (content is None):
        raise CommandFailed("give either --take or --content", USAGE, "primacy conflict resolve --help")
    request = ResolveConflictRequest(
        group=session.group, id=conflict_id, owner=who or owner(), reason=reason, if_version=if_version
    )
    if content is not None:
        from primacy_cli.given import content_of

        request.content = content_of(content)
    elif take == "current":
        request.take_current = True
    else:
        request.take_incoming = True
    if not yes:
        version = _agree(session, request.content if content is not None else None, take or "", conflict_id)
        if if_version is None:
            request.if_version = version
    response = session.ask(ReplicationServiceStub(session.channel).ResolveConflict, request)
    session.show(response, lambda: _told(response))


def one_conflict(session: Session, conflict_id: str) -> Conflict:
    """With its contents. Raises CommandFailed."""
    from primacy.v1.replication_service_pb2 import ListConflictsRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = ListConflictsRequest(group=session.group, id=conflict_id, with_content=True)
    found = session.ask(ReplicationServiceStub(session.channel).ListConflicts, request).conflicts
    if not found:
        raise CommandFailed(f"there is no conflict {conflict_id!r}", REFUSED, "primacy conflict list")
    return found[0]


def _agree(session: Session, content: bytes | None, take: str, conflict_id: str) -> int:
    """Show what would change in force, and ask. Returns the version that was shown. Raises CommandFailed."""
    from primacy.v1 import replication_pb2

    from primacy_cli.differences import print_diff

    conflict = one_conflict(session, conflict_id)
    now = _in_force(session, conflict)
    version = now.version if now is not None else 0
    chosen = conflict.current if take == "current" else conflict.incoming
    if conflict.kind == replication_pb2.ENTRY_KIND_CONFIG:
        before = now.content if now is not None and not now.removed else b""
        after = content if content is not None else b"" if chosen.removed else chosen.content
        print_diff(before, after, f"{conflict.key}@{version}", "decided", aside=True)
    else:
        session.note(f"{conflict.key} is at version {version}; {take} is by {chosen.agent or 'nobody'}.")
    session.confirm(f"Decide {conflict.id} so, in all regions?")
    return version


def _in_force(session: Session, conflict: Conflict) -> Entry | None:
    """The newest version of the key. Raises CommandFailed."""
    from primacy.v1.replication_service_pb2 import ListEntriesRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    request = ListEntriesRequest(
        group=session.group, key=conflict.key, kind=conflict.kind, page_size=1, with_content=True
    )
    found = session.ask(ReplicationServiceStub(session.channel).ListEntries, request).entries
    return found[0] if found else None


def _told(response: ResolveConflictResponse) -> str:
    after = f"entry {response.sequence} of the log" if response.sequence else "the version in force stays"
    return f"{response.conflict.id} is decided for {response.conflict.key}: {after}"
