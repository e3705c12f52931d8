"""`primacy config set`, `edit`, `rollback` and `remove`."""

from __future__ import annotations

from dataclasses import replace

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.config_reads import documents_of, name_of_version, newest, one_document
from primacy_cli.failures import REFUSED, UNREACHABLE, CommandFailed
from primacy_cli.session import Session
from primacy_cli.writing import Writing, finish, repeatable, with_words, with_writing

PUT_S_MAX = 30.0
"""An agent tries for 10 s to reach a coordinator before it keeps a write."""
FORMATS = ("json", "yaml")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command("set")
@click.argument("key")
@click.argument("value", metavar="VALUE|@FILE|-")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: as KEY ends, else FILE, else yaml]")
@with_agent
@with_writing
def set_config(session: Session, key: str, value: str, form: str | None, writing: Writing) -> None:
    """Write a document: the text itself, @FILE for a file's, or - for standard input.

    While the agent hears no coordinator the write is kept on its disk, is in force there, and is submitted later; with
    --if-version it is refused instead. Exit code 1 for a write that is not in force, because it lost against another
    one or an operator shall decide.

    \b
    Examples:
        primacy config set app/limits.yaml 'rate: 100'
        primacy config set app/limits.yaml @limits.yaml --if-version 3 --wait
        primacy config set app/limits.json - < limits.json
    """
    from primacy_cli.given import check_document, content_of, format_for, name_of

    content, form = content_of(value), format_for(key, value, form)
    if value == "-" or value.startswith("@"):
        check_document(content, form, name_of(value))
    put(session, key, content, form, writing)


def put(session: Session, key: str, content: bytes, form: str, writing: Writing, removes: bool = False) -> None:
    """Write it and tell what became of it. Raises CommandFailed."""
    from primacy.agent.v1.local_service_pb2 import PutConfigRequest

    request = PutConfigRequest(
        group=session.group,
        key=key,
        content=content,
        format=form,
        remove=removes,
        if_version=writing.if_version,
        id=writing.id,
        durability=writing.durability,
        message=writing.message,
    )
    with repeatable(writing):
        response = session.ask(local(session).PutConfig, request, PUT_S_MAX, at_agent=True)
    what = f"removed: {key}" if removes else key
    if not response.queued:
        finish(session, response, response.appended, what, writing)
        return
    session.show(
        response, lambda: f"{what} is in force here and waits on the agent's disk until a coordinator is heard"
    )
    if writing.wait_s is not None:
        raise CommandFailed(
            "no region can be waited for while no coordinator is heard", UNREACHABLE, f"primacy config history {key}"
        )


@click.command("edit")
@click.argument("key")
@with_agent
@with_words
def edit(session: Session, key: str, writing: Writing) -> None:
    """Edit a document in $VISUAL or $EDITOR. It is written only if nobody else wrote it meanwhile.

    A key that does not exist begins empty. What is no document may be mended at once; whatever goes wrong, your text is
    kept in a file, which is named then.

    \b
    Examples:
        primacy config edit app/limits.yaml
        EDITOR=nano primacy config edit app/limits.yaml -m "more for the sale"
    """
    from primacy_cli.editing import edit_text
    from primacy_cli.given import format_for

    try:
        before = newest(session, key)
    except CommandFailed as failed:
        if failed.reason != "CONFIG_NOT_FOUND":
            raise
        version, form, content = 0, format_for(key, ""), b""
    else:
        if before.queued:
            raise CommandFailed(f"a write of {key} waits to be submitted: edit it when it is", REFUSED, _history(key))
        version, form, content = before.version, before.format or format_for(key, ""), before.content
    checked = replace(writing, if_version=version)
    edit_text(key, form, content, lambda text: put(session, key, text, form, checked), session.note)


@click.command("rollback")
@click.argument("key")
@click.argument("version", type=click.IntRange(1), required=False)
@yes_option
@with_agent
@with_words
def rollback(session: Session, key: str, version: int | None, yes: bool, writing: Writing) -> None:
    """Write an earlier version again, as the newest; without VERSION, the one before that says something else.

    Shows what changes and asks. It is written only if nobody else wrote meanwhile.

    \b
    Examples:
        primacy config rollback app/limits.yaml
        primacy config rollback app/limits.yaml 3 --yes
    """
    from primacy_cli.differences import print_diff

    now = newest(session, key)
    if now.queued:
        raise CommandFailed(f"a write of {key} waits to be submitted: roll back when it is", REFUSED, _history(key))
    if version is None:
        version = _before(session, key, now.digest)
    then = one_document(session, key, version)
    if then.removed:
        raise CommandFailed(f"version {version} removed {key}", REFUSED, f"primacy config remove {key}")
    if not yes:
        print_diff(now.content, then.content, name_of_version(now), name_of_version(then), aside=True)
        session.confirm(f"Write version {version} of {key} again, in all regions?")
    message = writing.message or f"rollback to version {version}"
    put(session, key, then.content, then.format, replace(writing, message=message, if_version=now.version))


def _before(session: Session, key: str, digest: str) -> int:
    """The newest version that is kept and says something else. Raises CommandFailed."""
    for one in documents_of(session, key).configs:
        if one.version and not one.removed and one.digest != digest:
            return one.version
    raise CommandFailed(f"no earlier version of {key} that says something else is kept", REFUSED, _history(key))


@click.command("remove")
@click.argument("key")
@yes_option
@with_agent
@with_writing
def remove(session: Session, key: str, yes: bool, writing: Writing) -> None:
    """Remove a document from all regions, and its file. Its versions are kept for a while: `config rollback` brings it
    back.

    \b
    Example:
        primacy config remove app/limits.yaml --yes
    """
    if not yes:
        now = one_document(session, key)
        session.note(f"{name_of_version(now)} was written by {now.agent or now.origin}.")
        session.confirm(f"Remove {key} from all regions?")
        if writing.if_version is None and not now.queued:
            writing = replace(writing, if_version=now.version)  # Only what was shown is removed.
    put(session, key, b"", "", writing, removes=True)


def _history(key: str) -> str:
    return f"primacy config history {key}"
