"""`primacy config`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import REFUSED, USAGE, CommandFailed
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

SECONDS = 20.0
if_version_option = click.option(
    "--if-version", type=click.IntRange(0), metavar="N", help="Only if this version is in force; 0: none is."
)
message_option = click.option("-m", "--message", default="", metavar="TEXT", help="Why, for people.")


@click.group("config")
def command() -> None:
    """Read and write the configuration documents that all regions share.

    A document is JSON or YAML, named by a key such as `app/limits.yaml`. The agent writes it as a file of that name.

    \b
    Examples:
        primacy config set app/limits.yaml @limits.yaml
        primacy config get app/limits.yaml
        primacy config edit app/limits.yaml
    """


@command.command("set")
@click.argument("key")
@click.argument("value", metavar="VALUE|@FILE|-")
@click.option("--format", "form", type=click.Choice(["json", "yaml"]), help="[default: as the key ends, else yaml]")
@if_version_option
@message_option
@with_agent
def set_config(session: Session, key: str, value: str, form: str | None, if_version: int | None, message: str) -> None:
    """Write a document: the text itself, @FILE for a file's, or - for standard input.

    While the agent hears no coordinator the write is kept on its disk, is in force there, and is submitted later.

    \b
    Examples:
        primacy config set app/limits.yaml 'rate: 100'
        primacy config set app/limits.yaml @limits.yaml --if-version 3
    """
    response = _put(session, key, _content(value), form or "", if_version, message)
    session.show(response, lambda: _written(key, response))


def _content(value: str) -> bytes:
    if value == "-":
        return sys.stdin.buffer.read()
    if not value.startswith("@"):
        return value.encode()
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise CommandFailed(f"{value[1:]}: {error.strerror}", USAGE, "name a file that can be read") from error


def _put(
    session: Session, key: str, content: bytes, form: str, if_version: int | None, message: str
) -> pb.PutConfigResponse:
    from primacy.agent.v1.local_service_pb2 import PutConfigRequest

    request = PutConfigRequest(
        group=session.group, key=key, content=content, format=form, if_version=if_version, message=message
    )
    return session.ask(local(session).PutConfig, request, SECONDS, at_agent=True)


def _written(key: str, response: pb.PutConfigResponse) -> str:
    from primacy.v1 import replication_service_pb2

    from primacy_cli.words import word

    if response.queued:
        return f"{key} is in force here and waits on the agent's disk until a coordinator is heard"
    appended = response.appended
    outcome = word(replication_service_pb2.AppendOutcome, appended.outcome)
    which = f"{key} version {appended.version}, entry {appended.sequence} of the log"
    conflict = f"`primacy conflict show {appended.conflict_id}`"
    said = {
        "MERGED": f"{which}: merged with a write that it did not know of, see {conflict}",
        "WON": f"{which}: it won over a write that it did not know of, see {conflict}",
        "LOST": f"{key} stays as it was: it lost against a write that it did not know of, see {conflict}",
        "OPEN": f"{key} stays as it was until somebody decides: {conflict}",
    }
    return said.get(outcome, which) + ("; only one region has it yet" if appended.at_risk else "")


@command.command("get")
@click.argument("key")
@click.option("--version", type=click.IntRange(0), default=0, metavar="N", help="An earlier one that is kept.")
@with_agent
def get(session: Session, key: str, version: int) -> None:
    """Print a document as this region has it.

    \b
    Examples:
        primacy config get app/limits.yaml
        primacy config get app/limits.yaml --version 3
    """
    found = _get(session, key, version)
    if not session.for_people:
        session.print_message(found)
        return
    click.echo(found.content.decode(), nl=not found.content.endswith(b"\n"))


def _get(session: Session, key: str, version: int = 0) -> pb.Config:
    from primacy.agent.v1.local_service_pb2 import GetConfigRequest

    request = GetConfigRequest(group=session.group, key=key, version=version)
    return session.ask(local(session).GetConfig, request, at_agent=True).config


@command.command("list")
@with_agent
def list_configs(session: Session) -> None:
    """List the documents that are in force.

    \b
    Example:
        primacy config list
    """
    response = _list(session, "")
    session.show(
        response, lambda: _table(response, session.wide) if response.configs else "No document was written yet."
    )


def _list(session: Session, key: str) -> pb.ListConfigsResponse:
    from primacy.agent.v1.local_service_pb2 import ListConfigsRequest

    request = ListConfigsRequest(group=session.group, key=key)
    return session.ask(local(session).ListConfigs, request, at_agent=True)


@command.command("history")
@click.argument("key")
@with_agent
def history(session: Session, key: str) -> None:
    """List the versions of a document that are kept, the newest first.

    \b
    Example:
        primacy config history app/limits.yaml
    """
    response = _list(session, key)
    session.show(response, lambda: _table(response, session.wide))


def _table(response: pb.ListConfigsResponse, wide: bool) -> Any:
    from primacy_cli.tables import table
    from primacy_cli.words import clock

    rows = []
    for one in response.configs:
        notes = [
            text
            for text, shown in (
                ("waits to be submitted", one.queued),
                ("removed", one.removed),
                (f"conflict {one.conflict_id}", bool(one.conflict_id)),
            )
            if shown
        ]
        row = [one.key, str(one.version) if one.version else "-", clock(one.write_time), one.origin]
        if wide:
            row += [str(one.sequence or ""), one.format, one.agent, one.digest[:16]]
        rows.append((*row, ", ".join(notes), one.message))
    more = ("ENTRY", "FORMAT", "AGENT", "DIGEST") if wide else ()
    return table(("KEY", "VERSION", "WRITTEN", "BY", *more, "NOTE", "MESSAGE"), rows, right=("VERSION", "ENTRY"))


@command.command("edit")
@click.argument("key")
@message_option
@with_agent
def edit(session: Session, key: str, message: str) -> None:
    """Edit a document in $EDITOR. It is written only if nobody else wrote it meanwhile.

    \b
    Example:
        EDITOR=nano primacy config edit app/limits.yaml
    """
    before = _get(session, key)
    if before.queued:
        raise CommandFailed(
            f"a write of {key} waits to be submitted: edit it when it is", REFUSED, "primacy config list"
        )
    text = before.content.decode()
    changed = click.edit(text, extension=f".{before.format}")
    if changed is None or changed == text:
        session.note("nothing was changed")
        return
    response = _put(session, key, changed.encode(), before.format, before.version, message)
    session.show(response, lambda: _written(key, response))


@command.command("diff")
@click.argument("key")
@click.option("--from", "first", type=click.IntRange(1), metavar="N", help="[default: the version before]")
@click.option("--to", "second", type=click.IntRange(0), default=0, metavar="N", help="[default: the one in force]")
@with_agent
def diff(session: Session, key: str, first: int | None, second: int) -> None:
    """Show what changed between two versions of a document.

    \b
    Examples:
        primacy config diff app/limits.yaml
        primacy config diff app/limits.yaml --from 3 --to 5
    """
    from primacy_cli.differences import print_diff

    after = _get(session, key, second)
    if first is None:
        kept = sorted((one.version for one in _list(session, key).configs if one.version), reverse=True)
        older = [version for version in kept if version < after.version] if after.version else kept
        if not older:
            raise CommandFailed(
                f"no version of {key} before this one is kept", REFUSED, f"primacy config history {key}"
            )
        first = older[0]
    before = _get(session, key, first)
    print_diff(before.content, after.content, f"{key}@{before.version}", f"{key}@{after.version or 'queued'}")


@command.command("rollback")
@click.argument("key")
@click.argument("version", type=click.IntRange(1))
@message_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_agent
def rollback(session: Session, key: str, version: int, message: str, yes: bool) -> None:
    """Write an earlier version again, as the newest.

    \b
    Example:
        primacy config rollback app/limits.yaml 3
    """
    from primacy_cli.differences import print_diff

    now, then = _newest(session, key), _get(session, key, version)
    if not yes:
        print_diff(now.content, then.content, f"{key}@{now.version}", f"{key}@{version}")
        session.confirm(f"Write version {version} of {key} again, in all regions?")
    words = message or f"rollback to version {version}"
    response = _put(session, key, then.content, then.format, now.version, words)
    session.show(response, lambda: _written(key, response))


def _newest(session: Session, key: str) -> pb.Config:
    """The version in force, or what is known of the removed one."""
    kept = _list(session, key).configs
    if kept[0].removed:
        return kept[0]
    return _get(session, key)


@command.command("remove")
@click.argument("key")
@if_version_option
@message_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_agent
def remove(session: Session, key: str, if_version: int | None, message: str, yes: bool) -> None:
    """Remove a document from all regions. Its versions are kept for a while.

    \b
    Example:
        primacy config remove app/limits.yaml --yes
    """
    from primacy.agent.v1.local_service_pb2 import PutConfigRequest

    if not yes:
        session.confirm(f"Remove {key} from all regions?")
    request = PutConfigRequest(group=session.group, key=key, remove=True, if_version=if_version, message=message)
    response = session.ask(local(session).PutConfig, request, SECONDS, at_agent=True)
    session.show(response, lambda: f"removed: {_written(key, response)}")


@command.command("watch")
@click.argument("key", default="")
@with_agent
def watch(session: Session, key: str) -> None:
    """Print a document, or all, and again whenever it changes, until Ctrl-C.

    \b
    Example:
        primacy config watch app/limits.yaml -o json
    """
    with suppress(KeyboardInterrupt), session.failures(at_agent=True):
        _watch(session, key)


def _watch(session: Session, key: str) -> None:
    from primacy.agent.v1.local_service_pb2 import WatchConfigRequest

    for answer in local(session).WatchConfig(WatchConfigRequest(group=session.group, key=key)):
        one = answer.config
        if not session.for_people:
            session.print_message(one, one_line=True)
            continue
        what = "removed" if one.removed else "queued" if one.queued else f"version {one.version}"
        click.echo(click.style(f"# {one.key}: {what}, by {one.origin}", bold=True))
        if not one.removed:
            click.echo(one.content.decode(), nl=not one.content.endswith(b"\n"))
