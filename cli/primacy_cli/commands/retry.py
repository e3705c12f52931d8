"""`primacy retry`."""

from __future__ import annotations

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, with_session


@click.command("retry")
@click.argument("sequence", type=click.IntRange(1), required=False, metavar="[ENTRY]")
@click.option("--region", default="", metavar="NAME", help="Only there.")
@click.option("--all", "everything", is_flag=True, help="Everything that is put aside.")
@with_session
def command(session: Session, sequence: int | None, region: str, everything: bool) -> None:
    """Let regions try again what they have put aside, once its cause is gone.

    \b
    Examples:
        primacy retry 42
        primacy retry --all --region eu-west
    """
    from primacy.v1.replication_service_pb2 import RetryEntryRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    if (sequence is None) != everything:
        raise CommandFailed("name an entry, or give --all", USAGE, "primacy replication")
    request = RetryEntryRequest(group=session.group, sequence=sequence or 0, region=region)
    response = session.ask(ReplicationServiceStub(session.channel).RetryEntry, request)
    where = ", ".join(response.regions)
    count = response.entries
    session.show(
        response, lambda: f"{count} parked {'entry is' if count == 1 else 'entries are'} tried again in {where}"
    )
