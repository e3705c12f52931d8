"""`primacy model`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import TIMED_OUT, CommandFailed
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb
    from primacy.v1.replication_service_pb2 import AppendResponse

DAY_S = 24 * 3600.0
LOOK_S = 0.25


@click.group("model")
def command() -> None:
    """Push models, and see and change which versions regions have.

    A push reads the file or directory on the agent's machine, keeps it in that agent's store, and puts a new version
    into the log; every region fetches it from there, verifies it, and makes it `current` in one step.

    \b
    Examples:
        primacy model push bert ./models/bert
        primacy model list
        primacy model rollback bert 3
    """


@command.command("push")
@click.argument("name")
@click.argument("path")
@click.option("-m", "--message", default="", metavar="TEXT", help="What is new, for people.")
@click.option("--durability", type=click.Choice(["local", "regions"]), help="When it counts as done. [default: policy]")
@click.option(
    "--if-version", type=click.IntRange(0), metavar="N", help="Only if this is the newest version; 0: none is."
)
@click.option("--id", "entry_id", default="", metavar="ID", help="Repeated under one id, a push happens once.")
@click.option("--wait", metavar="TIME", is_flag=False, flag_value="10m", help="Wait until every region has applied it.")
@with_agent
def push(
    session: Session,
    name: str,
    path: str,
    message: str,
    durability: str | None,
    if_version: int | None,
    entry_id: str,
    wait: str | None,
) -> None:
    """Publish a file or directory as a new version of a model.

    \b
    Examples:
        primacy model push bert ./models/bert -m "trained on June"
        primacy model push bert ./models/bert --wait 10m
    """
    from primacy.agent.v1.local_service_pb2 import PublishRequest

    request = PublishRequest(
        group=session.group,
        name=name,
        path=os.path.abspath(path),
        message=message,
        id=entry_id,
        if_version=if_version,
        durability=_durability(durability),
    )
    seconds = _seconds(wait) if wait is not None else 0.0
    done = _publish(session, request)
    session.show(
        done,
        lambda: (
            f"{name} version {done.appended.version} is entry {done.appended.sequence} of the log; "
            f"{_size(done.bytes_total)}, of which {_size(done.bytes_new)} were new"
            + ("; only one region has it yet" if done.appended.at_risk else "")
        ),
    )
    if wait is not None:
        _wait(session, done.appended.sequence, seconds)


def _publish(session: Session, request: pb.PublishRequest) -> pb.PublishResponse:
    """The last answer. Shows a bar on a terminal, a line at each stage elsewhere."""
    from primacy.agent.v1.local_service_pb2 import PublishResponse

    last, stage = PublishResponse(), ""
    with _bar(session, f"reading {os.path.basename(request.path)}") as move, session.failures(at_agent=True):
        for answer in local(session).Publish(request, timeout=DAY_S):
            last = answer
            if answer.stage != stage and answer.stage == "appending":
                move(answer.bytes_done, answer.bytes_total, "waiting for the log")
            elif answer.stage == "reading":
                move(answer.bytes_done, answer.bytes_total, "")
            stage = answer.stage
    return last


class _bar:  # noqa: N801 - reads like a function
    """A bar with rate and time left, where a person sees it."""

    def __init__(self, session: Session, text: str) -> None:
        import sys

        self._text = text
        self._shown = session.for_people and sys.stderr.isatty()

    def __enter__(self) -> Callable[[int, int, str], None]:
        if not self._shown:
            return lambda _done, _total, _text: None
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        task = self._progress.add_task(self._text, total=None)

        def move(done: int, total: int, text: str) -> None:
            self._progress.update(task, completed=done, total=total or None, description=text or self._text)

        return move

    def __exit__(self, *error: object) -> None:
        if self._shown:
            self._progress.stop()


def _wait(session: Session, sequence: int, seconds: float) -> None:
    """Until every region that is heard has applied the entry."""
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    deadline = time.monotonic() + seconds
    stub = ReplicationServiceStub(session.channel)
    while True:
        status = session.ask(stub.GetReplicationStatus, GetReplicationStatusRequest(group=session.group))
        parked = {
            one.agent: one.reason for region in status.regions for one in region.parked if one.sequence == sequence
        }
        if parked:
            agent, reason = min(parked.items())
            raise CommandFailed(f"{agent} has put entry {sequence} aside: {reason}", 1, f"primacy retry {sequence}")
        behind = [region.region for region in status.regions if region.settled < sequence]
        if not behind:
            session.note(f"every region has applied entry {sequence}")
            return
        if time.monotonic() >= deadline:
            raise CommandFailed(f"{', '.join(behind)} has not applied it in time", TIMED_OUT, "primacy replication")
        time.sleep(LOOK_S)


@command.command("list")
@with_agent
def list_models(session: Session) -> None:
    """List the models that the agent has.

    \b
    Example:
        primacy model list --agent 127.0.0.1:7411
    """
    from primacy.agent.v1.local_service_pb2 import ListModelsRequest

    response = session.ask(local(session).ListModels, ListModelsRequest(group=session.group), at_agent=True)
    session.show(response, lambda: _listed(response))


def _listed(response: pb.ListModelsResponse) -> Any:
    from primacy_cli.tables import lines, stack, table

    rows = []
    for model in response.models:
        newest = max(model.versions, key=lambda one: one.version)
        here = "all" if newest.bytes_here == newest.size else f"{_size(newest.bytes_here)} of {_size(newest.size)}"
        rows.append(
            (
                model.name,
                str(model.newest),
                str(model.current) if model.current else "-",
                _size(newest.size),
                here,
                str(sum(1 for one in model.versions if one.path)),
                newest.trouble,
            )
        )
    heads = ("MODEL", "NEWEST", "CURRENT", "SIZE", "HERE", "INSTALLED", "NOTE")
    found = table(heads, rows, right=("NEWEST", "CURRENT", "SIZE", "INSTALLED")) if rows else "No model was pushed yet."
    return stack(found, lines([f"store: {_size(response.store_bytes)} used, {_size(response.free_bytes)} free"]))


@command.command("show")
@click.argument("name")
@with_agent
def show(session: Session, name: str) -> None:
    """Show the versions of a model that the agent knows.

    \b
    Example:
        primacy model show bert
    """
    from primacy.agent.v1.local_service_pb2 import ListModelsRequest

    request = ListModelsRequest(group=session.group, name=name)
    response = session.ask(local(session).ListModels, request, at_agent=True)
    session.show(response, lambda: _versions(response.models[0], session.wide))


def _versions(model: pb.Model, wide: bool) -> Any:
    from primacy_cli.tables import table
    from primacy_cli.words import clock

    rows = []
    for one in model.versions:
        notes = [text for text, shown in (("current", one.current), ("pinned", one.pinned)) if shown]
        if not one.path and one.bytes_here == one.size:
            notes.append("not installed")
        elif one.bytes_here < one.size:
            notes.append(f"{_size(one.bytes_here)} here")
        if one.trouble:
            notes.append(one.trouble)
        row = [str(one.version), _size(one.size), clock(one.write_time), one.origin, ", ".join(notes)]
        if wide:
            row += [str(one.sequence), str(one.files or ""), one.digest, one.path]
        rows.append((*row, one.message))
    more = ("ENTRY", "FILES", "DIGEST", "PATH") if wide else ()
    heads = ("VERSION", "SIZE", "WRITTEN", "BY", "STATE", *more, "MESSAGE")
    return table(heads, rows, right=("VERSION", "SIZE", "ENTRY", "FILES"))


def _manage(session: Session, seconds: float = 60.0, **fields: Any) -> pb.ManageModelResponse:
    from primacy.agent.v1.local_service_pb2 import ManageModelRequest

    request = ManageModelRequest(group=session.group, **fields)
    return session.ask(local(session).ManageModel, request, seconds, at_agent=True)


def _appended(appended: AppendResponse) -> str:
    return f"version {appended.version}, entry {appended.sequence} of the log"


@command.command("pull")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@with_agent
def pull(session: Session, name: str, version: int) -> None:
    """Fetch an earlier version to the agent, and keep it there (as `pin` does).

    \b
    Example:
        primacy model pull bert 3
    """
    response = _manage(session, DAY_S, name=name, pull=version)
    session.show(response, lambda: f"{name} version {version} is here and is kept")


@command.command("pin")
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


@command.command("unpin")
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


@command.command("rollback")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for people.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_agent
def rollback(session: Session, name: str, version: int, message: str, yes: bool) -> None:
    """Make an earlier version the newest again, in all regions.

    It is a new version with the old content, so that nothing is lost and the history tells of it.

    \b
    Example:
        primacy model rollback bert 3 -m "worse on long inputs"
    """
    if not yes:
        _manage(session, name=name, rollback=version, validate_only=True)
        session.confirm(f"Roll {name} back to version {version} in all regions?")
    response = _manage(session, name=name, rollback=version, message=message)
    session.show(response, lambda: f"{name} is as in version {version} again: {_appended(response.appended)}")


@command.command("remove")
@click.argument("name")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for people.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_agent
def remove(session: Session, name: str, message: str, yes: bool) -> None:
    """Remove a model from all regions. Pinned versions stay where they are pinned.

    \b
    Example:
        primacy model remove bert --yes
    """
    if not yes:
        _manage(session, name=name, remove=True, validate_only=True)
        session.confirm(f"Remove {name} from all regions?")
    response = _manage(session, name=name, remove=True, message=message)
    session.show(response, lambda: f"{name} is removed: {_appended(response.appended)}")


@command.command("gc")
@click.argument("name", default="")
@click.option("--dry-run", is_flag=True, help="Say what would be dropped, and drop nothing.")
@with_agent
def gc(session: Session, name: str, dry_run: bool) -> None:
    """Drop what no kept version needs from the agent's disk. It happens by itself after each new version, too.

    \b
    Example:
        primacy model gc --dry-run
    """
    response = _manage(session, DAY_S, name=name, collect=True, validate_only=dry_run)
    word = "would be " if dry_run else ""
    dropped = f"; dropped {', '.join(response.dropped)}" if response.dropped and not dry_run else ""
    if dry_run and response.dropped:
        dropped = f"; {', '.join(response.dropped)} would go"
    session.show(response, lambda: f"{_size(response.freed_bytes)} {word}freed{dropped}")


@command.command("verify")
@click.argument("name", default="")
@with_agent
def verify(session: Session, name: str) -> None:
    """Read everything again that the agent has, and fetch anew what is damaged. Exit code 1 if anything was.

    \b
    Example:
        primacy model verify bert
    """
    from primacy.agent.v1.local_service_pb2 import VerifyModelsRequest

    damaged: list[str] = []
    total = 0
    request = VerifyModelsRequest(group=session.group, name=name)
    with _bar(session, "verifying") as move, session.failures(at_agent=True):
        for answer in local(session).VerifyModels(request, timeout=DAY_S):
            damaged += answer.damaged
            total = answer.bytes_total
            move(answer.bytes_done, answer.bytes_total, "")
    if session.for_people:
        click.echo(f"{_size(total)} read; " + ("all of it is as it should be" if not damaged else "damaged:"))
        for one in damaged:
            click.echo(f"  {one}")
    else:
        session.print_content({"bytes": total, "damaged": damaged})
    if damaged:
        raise CommandFailed("what was damaged was fetched anew; look at the disk", 1, "primacy model verify")


def _durability(word: str | None) -> Any:
    from primacy.v1.replication_pb2 import Durability

    return Durability.Value(f"DURABILITY_{word.upper()}") if word else 0


def _seconds(text: str) -> float:
    from primacy_wire.durations import Duration

    try:
        return Duration.of(text).seconds
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--wait") from error


def _size(count: int) -> str:
    from primacy_cli.words import size

    return size(count)
