"""`primacy config diff`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from primacy_cli.agents import with_agent
from primacy_cli.config_reads import documents_of, name_of_version, one_document
from primacy_cli.failures import REFUSED, USAGE, CommandFailed
from primacy_cli.session import Session

if TYPE_CHECKING:
    from primacy.agent.v1 import local_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Side:
    name: str
    content: bytes
    form: str


@click.command("diff")
@click.argument("key")
@click.argument("value", metavar="[VALUE|@FILE|-]", required=False)
@click.option("--from", "first", type=click.IntRange(1), metavar="N", help="[default: the version before]")
@click.option("--to", "second", type=click.IntRange(1), metavar="N", help="[default: the one in force]")
@with_agent
def diff(session: Session, key: str, value: str | None, first: int | None, second: int | None) -> None:
    """Show what changed between two versions of a document, or what `config set` with a VALUE would change.

    With -o json: each field that differs, by JSON pointer.

    \b
    Examples:
        primacy config diff app/limits.yaml
        primacy config diff app/limits.yaml --from 3 --to 5
        primacy config diff app/limits.yaml @limits.yaml
    """
    from primacy_cli.differences import diff_lines, places, print_diff

    if value is None:
        before, after = _versions(session, key, first, second)
    elif second is not None:
        raise CommandFailed("--to and a VALUE exclude each other", USAGE, "primacy config diff --help")
    else:
        before, after = _side(one_document(session, key, first or 0)), _given(key, value)
    if session.for_people:
        print_diff(before.content, after.content, before.name, after.name)
        return
    text = "\n".join(diff_lines(before.content, after.content, before.name, after.name))
    session.print_content(
        {
            "key": key,
            "from": before.name,
            "to": after.name,
            "differences": places(before.content, after.content, (before.form, after.form)),
            "text": text,
        }
    )


def _versions(session: Session, key: str, first: int | None, second: int | None) -> tuple[Side, Side]:
    after = one_document(session, key, second or 0)
    if first is None:
        kept = sorted((one.version for one in documents_of(session, key).configs if one.version), reverse=True)
        older = [version for version in kept if version < after.version] if after.version else kept
        if not older:
            raise CommandFailed(
                f"no version of {key} before this one is kept", REFUSED, f"primacy config history {key}"
            )
        first = older[0]
    return _side(one_document(session, key, first)), _side(after)


def _side(document: pb.Config) -> Side:
    return Side(name_of_version(document), document.content, document.format)


def _given(key: str, value: str) -> Side:
    from primacy_cli.given import content_of, format_for, name_of

    return Side(name_of(value), content_of(value), format_for(key, value))
