"""`primacy config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.agents import with_agent
from primacy_cli.config_diff import diff
from primacy_cli.config_reads import documents_of, one_document, print_document
from primacy_cli.config_watch import watch
from primacy_cli.config_writes import edit, remove, rollback, set_config
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

    from primacy_cli.tables import Renderable


@click.group("config")
def command() -> None:
    """Read and write the configuration documents that all regions share.

    A document is JSON or YAML of at most 1 MiB, named by a key such as `app/limits.yaml`; each agent writes it as a
    file of that name. Writes go to an agent, also while no coordinator can be reached: then they are kept there, and
    submitted later. Two that did not know of each other are a conflict (`primacy conflict`); nothing of them is lost.

    \b
    Examples:
        primacy config set app/limits.yaml @limits.yaml
        primacy config get app/limits.yaml
        primacy config edit app/limits.yaml
        primacy config diff app/limits.yaml
        primacy config rollback app/limits.yaml
    """


@command.command("get")
@click.argument("key")
@click.option("--version", type=click.IntRange(0), default=0, metavar="N", help="An earlier one that is kept.")
@with_agent
def get(session: Session, key: str, version: int) -> None:
    """Print a document as this region has it, as a file that `config set` takes.

    \b
    Examples:
        primacy config get app/limits.yaml
        primacy config get app/limits.yaml --version 3 > limits.yaml
    """
    from primacy_cli.failures import REFUSED, CommandFailed

    found = one_document(session, key, version)
    if not session.for_people:
        session.print_message(found)
        return
    if found.removed:
        raise CommandFailed(f"version {version} removed {key}", REFUSED, f"primacy config history {key}")
    print_document(found)
    if found.queued:
        session.note("this waits at the agent to be submitted: no coordinator took it yet")


@command.command("list")
@with_agent
def list_configs(session: Session) -> None:
    """List the documents that are in force in this region.

    \b
    Example:
        primacy config list
    """
    response = documents_of(session, "")
    session.show(response, lambda: _table(response, session.wide) if response.configs else "There is no document yet.")


@command.command("history")
@click.argument("key")
@with_agent
def history(session: Session, key: str) -> None:
    """List the versions of a document that are kept, the newest first.

    \b
    Example:
        primacy config history app/limits.yaml
    """
    response = documents_of(session, key)
    session.show(response, lambda: _table(response, session.wide))


def _table(response: pb.ListConfigsResponse, wide: bool) -> Renderable:
    from primacy_cli.tables import table
    from primacy_cli.words import clock

    rows = []
    for one in response.configs:
        row = [one.key, str(one.version) if one.version else "-", clock(one.write_time), one.origin]
        if wide:
            row += [str(one.sequence or ""), one.format, one.agent, one.digest[:16]]
        rows.append((*row, _note(one), one.message))
    more = ("ENTRY", "FORMAT", "AGENT", "DIGEST") if wide else ()
    return table(("KEY", "VERSION", "WRITTEN", "BY", *more, "NOTE", "MESSAGE"), rows, right=("VERSION", "ENTRY"))


def _note(one: pb.Config) -> str:
    notes = [
        text
        for text, shown in (
            ("waits to be submitted", one.queued),
            ("removed", one.removed),
            (f"conflict {one.conflict_id}", bool(one.conflict_id)),
        )
        if shown
    ]
    return ", ".join(notes)


for each in (set_config, edit, diff, rollback, remove, watch):
    command.add_command(each)
