"""Asks an agent for documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.agents import local

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb

    from primacy_cli.session import Session


def one_document(session: Session, key: str, version: int = 0) -> pb.Config:
    """0: the one in force. Raises CommandFailed."""
    from primacy.agent.v1.local_service_pb2 import GetConfigRequest

    request = GetConfigRequest(group=session.group, key=key, version=version)
    return session.ask(local(session).GetConfig, request, at_agent=True).config


def documents_of(session: Session, key: str) -> pb.ListConfigsResponse:
    """The versions of a key, the newest first; with an empty key the documents in force. Raises CommandFailed."""
    from primacy.agent.v1.local_service_pb2 import ListConfigsRequest

    request = ListConfigsRequest(group=session.group, key=key)
    return session.ask(local(session).ListConfigs, request, at_agent=True)


def newest(session: Session, key: str) -> pb.Config:
    """The newest version, with its content; also one that removed the key. Raises CommandFailed."""
    kept = documents_of(session, key).configs
    return kept[0] if kept and kept[0].removed else one_document(session, key)


def print_document(document: pb.Config) -> None:
    text = document.content.decode(errors="replace")
    click.echo(text, nl=not text.endswith("\n"))


def name_of_version(document: pb.Config) -> str:
    return f"{document.key}@{'queued' if document.queued else document.version}"
