"""`primacy model`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.model_changes import gc, pin, pull, remove, rollback, unpin
from primacy_cli.model_push import push
from primacy_cli.model_verify import verify
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

    from primacy_cli.tables import Renderable


@click.group("model")
def command() -> None:
    """Push models, and see and change which versions regions have.

    A push reads the file or directory on the agent's machine, keeps it in that agent's store, and puts a new version
    into the log; every region fetches it from there, verifies it, and makes it `current` in one step.

    \b
    Examples:
        primacy model push bert ./models/bert --wait 10m
        primacy model list
        primacy model rollback bert
    """


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


def _listed(response: pb.ListModelsResponse) -> Renderable:
    from primacy_cli.tables import lines, stack, table
    from primacy_cli.words import size

    rows = []
    for model in response.models:
        newest = max(model.versions, key=lambda one: one.version, default=None)
        rows.append(
            (
                model.name,
                str(model.newest),
                str(model.current) if model.current else "-",
                size(newest.size) if newest else "-",
                _here(newest) if newest else "-",
                str(sum(1 for one in model.versions if one.path)),
                _trouble(model, newest),
            )
        )
    heads = ("MODEL", "NEWEST", "CURRENT", "SIZE", "HERE", "INSTALLED", "NOTE")
    found = table(heads, rows, right=("NEWEST", "CURRENT", "SIZE", "INSTALLED")) if rows else "No model was pushed yet."
    return stack(found, lines([f"store: {size(response.store_bytes)} used, {size(response.free_bytes)} free"]))


def _here(version: pb.ModelVersion) -> str:
    from primacy_cli.words import size

    if version.bytes_here >= version.size:
        return "all"
    return f"{size(version.bytes_here)} of {size(version.size)}"


def _trouble(model: pb.Model, newest: pb.ModelVersion | None) -> str:
    if newest is None or newest.version < model.newest:
        return "removed"
    return newest.trouble


@command.command("show")
@click.argument("name")
@with_agent
def show(session: Session, name: str) -> None:
    """Show the versions of a model that the agent knows, what of them is here, and where.

    \b
    Examples:
        primacy model show bert
        primacy model show bert -o wide
    """
    from primacy.agent.v1.local_service_pb2 import ListModelsRequest

    request = ListModelsRequest(group=session.group, name=name)
    response = session.ask(local(session).ListModels, request, at_agent=True)
    session.show(response, lambda: _versions(response.models[0], session.wide))


def _versions(model: pb.Model, wide: bool) -> Renderable:
    from primacy_cli.tables import table
    from primacy_cli.words import clock, size

    rows = []
    for one in model.versions:
        row = [str(one.version), size(one.size), clock(one.write_time), one.origin, _state(one)]
        if wide:
            row += [str(one.sequence), str(one.files or ""), one.digest, one.path]
        rows.append((*row, one.message))
    more = ("ENTRY", "FILES", "DIGEST", "PATH") if wide else ()
    heads = ("VERSION", "SIZE", "WRITTEN", "BY", "STATE", *more, "MESSAGE")
    shown = table(heads, rows, right=("VERSION", "SIZE", "ENTRY", "FILES"))
    return shown if rows else f"{model.name} is removed; nothing of it is kept here."


def _state(one: pb.ModelVersion) -> str:
    from primacy_cli.words import size

    notes = [text for text, holds in (("current", one.current), ("pinned", one.pinned)) if holds]
    if one.bytes_here < one.size:
        notes.append(f"{size(one.bytes_here)} here ({one.bytes_here * 100 // one.size} %)")
    elif not one.path:
        notes.append("not installed")
    if one.trouble:
        notes.append(one.trouble)
    return ", ".join(notes)


for each in (push, pull, pin, unpin, rollback, remove, gc, verify):
    command.add_command(each)
