"""`primacy config watch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.config_reads import print_document
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb


@click.command("watch")
@click.argument("key", default="")
@with_agent
def watch(session: Session, key: str) -> None:
    """Print a document, or all, and again whenever it changes, until Ctrl-C. It outlives a restart of the agent.

    \b
    Examples:
        primacy config watch app/limits.yaml
        primacy config watch -o json
    """
    with suppress(KeyboardInterrupt):
        _watch(session, key)


def _watch(session: Session, key: str) -> None:
    from primacy.agent.v1.local_service_pb2 import WatchConfigRequest

    from primacy_cli.paging import watched

    def begin() -> Iterator[pb.WatchConfigResponse]:
        return local(session).WatchConfig(WatchConfigRequest(group=session.group, key=key))

    shown: dict[str, tuple[int, bool, bool, str]] = {}
    for answer in watched(session, begin, at_agent=True):
        one = answer.config
        mark = one.sequence, one.queued, one.removed, one.digest
        if shown.get(one.key) == mark:
            continue  # A watch that begins anew tells everything again.
        shown[one.key] = mark
        if session.for_people:
            _print(one)
        else:
            session.print_message(one, one_line=True)


def _print(one: pb.Config) -> None:
    what = "removed" if one.removed else "queued" if one.queued else f"version {one.version}"
    click.echo(click.style(f"# {one.key}: {what}, by {one.origin}", bold=True))
    if not one.removed:
        print_document(one)
