"""`primacy model push`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.progress import progress_of
from primacy_cli.session import Session
from primacy_cli.writing import Writing, entry_text, finish, repeatable, with_writing

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

PUSH_S_MAX = 24 * 3600.0
APPENDING = "waiting until the log has it, and as many regions as durability asks for"


@click.command("push")
@click.argument("name")
@click.argument("path")
@with_agent
@with_writing
def push(session: Session, name: str, path: str, writing: Writing) -> None:
    """Publish a file or directory as a new version of a model.

    PATH is on the agent's machine; a relative one is taken from here. Only what is new to the agent's store is kept,
    and only what is new to a region is sent there. Cut short, the same with the --id that is named then goes on.

    \b
    Examples:
        primacy model push bert ./models/bert -m "trained on June"
        primacy model push bert ./models/bert --wait 10m
        primacy model push bert ./models/bert --if-version 7 --durability local
    """
    from primacy.agent.v1.local_service_pb2 import PublishRequest

    request = PublishRequest(
        group=session.group,
        name=name,
        path=os.path.abspath(path),
        message=writing.message,
        id=writing.id,
        if_version=writing.if_version,
        durability=writing.durability,
    )
    done = _publish(session, request, writing)
    finish(session, done, done.appended, name, writing, _told(name, done))


def _publish(session: Session, request: pb.PublishRequest, writing: Writing) -> pb.PublishResponse:
    """The last answer; shows meanwhile how far it is. Raises CommandFailed."""
    from primacy_cli.words import size

    reading = f"reading {os.path.basename(request.path)}"
    with repeatable(writing) as asked, progress_of(session) as progress, session.failures(at_agent=True):
        for answer in local(session).Publish(request, timeout=PUSH_S_MAX):
            asked.begun = True
            if answer.stage == "reading":
                progress.at(reading, answer.bytes_done, answer.bytes_total, f"{size(answer.bytes_new)} new")
            elif answer.stage == "appending":
                progress.at(APPENDING, 0, 0)
            else:
                return answer
    raise CommandFailed("the agent ended without an answer", REFUSED, f"the same with --id {writing.id}")


def _told(name: str, done: pb.PublishResponse) -> str:
    from primacy_cli.words import size

    new = f"{size(done.bytes_total)}, of which {size(done.bytes_new)} were new"
    return f"{name} {entry_text(done.appended).replace(', ', ' is ', 1)}; {new}"
