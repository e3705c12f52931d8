"""`primacy model pull`, `pin`, `unpin`, `rollback`, `remove` and `gc`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session
from primacy_cli.writing import Writing, entry_text, finish, with_words

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

LONG_S_MAX = 24 * 3600.0
APPEND_S_MAX = 600.0
"""A version whose content is there already waits for no more than the log."""
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def _manage(session: Session, seconds: float = 60.0, **fields: Any) -> pb.ManageModelResponse:
    """Raises CommandFailed."""
    from primacy.agent.v1.local_service_pb2 import ManageModelRequest

    request = ManageModelRequest(group=session.group, **fields)
    return session.ask(local(session).ManageModel, request, seconds, at_agent=True)


@click.command("pull")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@with_agent
def pull(session: Session, name: str, version: int) -> None:
    """Fetch an earlier version to the agent, and keep it there (as `pin` does).

    \b
    Example:
        primacy model pull bert 3
    """
    from primacy_cli.progress import progress_of

    with progress_of(session) as progress:
        progress.at(f"fetching {name} version {version}", 0, 0)
        response = _manage(session, LONG_S_MAX, name=name, pull=version)
    session.show(response, lambda: f"{name} version {version} is here and is kept")


@click.command("pin")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@with_agent
def pin(session: Session, name: str, version: int) -> None:
    """Keep a version at the agent, whatever becomes current.

    \b
    Example:
        primacy model pin bert 3
    """
    response = _manage(session, name=name, pin=version)
    session.show(response, lambda: f"{name} version {version} is kept until `primacy model unpin {name} {version}`")


@click.command("unpin")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@with_agent
def unpin(session: Session, name: str, version: int) -> None:
    """Let a pinned version go like any other.

    \b
    Example:
        primacy model unpin bert 3
    """
    response = _manage(session, name=name, unpin=version)
    session.show(response, lambda: f"{name} version {version} goes when newer ones take its place")


@click.command("rollback")
@click.argument("name")
@click.argument("version", type=click.IntRange(1), required=False)
@yes_option
@with_agent
@with_words
def rollback(session: Session, name: str, version: int | None, yes: bool, writing: Writing) -> None:
    """Make an earlier version the newest again, in all regions; without VERSION, the one before with other content.

    It is a new version with the old content, so that nothing is lost and the history tells of it.

    \b
    Examples:
        primacy model rollback bert
        primacy model rollback bert 3 -m "worse on long inputs" --wait 2m
    """
    if version is None:
        version = _before(session, name)
    if not yes:
        _manage(session, name=name, rollback=version, validate_only=True)
        session.confirm(f"Roll {name} back to version {version} in all regions?")
    response = _manage(session, APPEND_S_MAX, name=name, rollback=version, message=writing.message)
    text = f"{name} is as in version {version} again: {entry_text(response.appended)}"
    finish(session, response, response.appended, name, writing, text)


def _before(session: Session, name: str) -> int:
    """The newest version with another content than the newest of all. Raises CommandFailed."""
    from primacy.agent.v1.local_service_pb2 import ListModelsRequest

    request = ListModelsRequest(group=session.group, name=name)
    model = session.ask(local(session).ListModels, request, at_agent=True).models[0]
    versions = sorted(model.versions, key=lambda one: one.version, reverse=True)
    now = next((one.digest for one in versions if one.version == model.newest), "")
    for one in versions:
        if one.version < model.newest and one.digest != now:
            return one.version
    raise CommandFailed(f"no earlier version of {name} with other content is known here", REFUSED, _show(name))


@click.command("remove")
@click.argument("name")
@yes_option
@with_agent
@with_words
def remove(session: Session, name: str, yes: bool, writing: Writing) -> None:
    """Remove a model from all regions. Pinned versions stay where they are pinned.

    \b
    Example:
        primacy model remove bert --yes
    """
    if not yes:
        _manage(session, name=name, remove=True, validate_only=True)
        session.confirm(f"Remove {name} from all regions?")
    response = _manage(session, APPEND_S_MAX, name=name, remove=True, message=writing.message)
    text = f"{name} is removed: {entry_text(response.appended)}"
    finish(session, response, response.appended, name, writing, text)


@click.command("gc")
@click.argument("name", default="")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@yes_option
@with_agent
def gc(session: Session, name: str, dry_run: bool, yes: bool) -> None:
    """Drop what no kept version needs from the agent's disk. It happens by itself after each new version, too.

    Shows the versions that would go and asks; what no version has is dropped without a question. Current, pinned and
    the newest versions stay.

    \b
    Examples:
        primacy model gc --dry-run
        primacy model gc bert --yes
    """
    if dry_run or not yes:
        planned = _manage(session, LONG_S_MAX, name=name, collect=True, validate_only=True)
        going = f"; {', '.join(planned.dropped)} would go" if planned.dropped else ""
        text = f"{_size(planned.freed_bytes)} would be freed{going}"
        if dry_run:
            session.show(planned, lambda: text)
            return
        if planned.dropped:
            session.note(text)
            session.confirm("Drop them at this agent?")
    response = _manage(session, LONG_S_MAX, name=name, collect=True)
    dropped = f"; dropped {', '.join(response.dropped)}" if response.dropped else ""
    session.show(response, lambda: f"{_size(response.freed_bytes)} freed{dropped}")


def _size(count: int) -> str:
    from primacy_cli.words import size

    return size(count)


def _show(name: str) -> str:
    return f"primacy model show {name}"
