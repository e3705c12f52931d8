"""`primacy retry`."""

from __future__ import annotations

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import Session, with_session


@click.command("retry")
@click.argument("what", nargs=-1, metavar="[REGION] [SEQUENCE]")
@click.option("--all", "everything", is_flag=True, help="Every parked entry, of REGION or of all regions.")
@click.option("--region", default="", metavar="NAME", help="The region, where its name is a number.")
@with_session
def command(session: Session, what: tuple[str, ...], everything: bool, region: str) -> None:
    """Let regions try again what they have parked, once its cause is gone. Without a REGION: all that parked it.

    An entry is parked when a region could not apply it in all tries that the policy allows; later entries of the same
    key wait behind it. `primacy replication` shows them with their reasons.

    \b
    Examples:
        primacy retry eu-west 42
        primacy retry eu-west --all
        primacy retry 42
        primacy retry --all
    """
    from primacy.v1.replication_service_pb2 import RetryEntryRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.words import plural

    name, sequence = _meant(what, everything, region)
    request = RetryEntryRequest(group=session.group, sequence=sequence, region=name)
    response = session.ask(ReplicationServiceStub(session.channel).RetryEntry, request)
    where = " and ".join(response.regions) or "no region"
    count = plural(response.entries, "parked entry")
    session.show(response, lambda: f"{where} will try {count} again; see `primacy replication --watch`")


def _meant(what: tuple[str, ...], everything: bool, region: str) -> tuple[str, int]:
    """(region or empty, number or 0). Raises CommandFailed."""
    words = list(what)
    number = words.pop() if words and _is_number(words[-1]) and (len(words) == 2 or not everything) else ""
    name = words.pop() if words else ""
    if words or (name and region) or bool(number) == everything:
        raise CommandFailed(
            "name a region and the number of an entry, or give --all",
            USAGE,
            "`primacy replication` shows what is parked",
        )
    return name or region, int(number or 0)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text[:19]) > 0 and len(text) < 19
