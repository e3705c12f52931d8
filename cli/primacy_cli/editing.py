"""Lets a person edit a document. What was typed is never lost, whatever becomes of it."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from primacy_cli.failures import REFUSED, CommandFailed


def edit_text(key: str, form: str, before: bytes, write: Callable[[bytes], None], note: Callable[[str], None]) -> None:
    """Open it in $VISUAL or $EDITOR, then `write` it if it changed.

    What is no document is opened again as long as a person wants to mend it. Raises CommandFailed, which names the file
    that keeps the text.
    """
    folder = Path(tempfile.mkdtemp(prefix="primacy-"))
    path = folder / f"{os.path.basename(key)}{'' if key.endswith(f'.{form}') else f'.{form}'}"
    path.write_bytes(before)
    try:
        content = _edited(path, form, before)
        if content != before:
            write(content)
    except (click.ClickException, click.Abort, KeyboardInterrupt) as error:
        if path.read_bytes() == before:
            shutil.rmtree(folder)
            raise
        if isinstance(error, CommandFailed):
            error.advice = (
                f"your text is kept: `primacy config diff {key} @{path}`, then `primacy config set {key} @{path}`"
            )
            raise
        raise CommandFailed(f"stopped; your text is in {path}", REFUSED) from error
    shutil.rmtree(folder)
    if content == before:
        note("nothing was changed")


def _edited(path: Path, form: str, before: bytes) -> bytes:
    from primacy_cli.given import check_document

    while True:
        try:
            click.edit(filename=str(path))
        except click.ClickException as error:  # It did not start, or ended badly.
            raise CommandFailed(
                error.message, REFUSED, "name one that works: EDITOR=nano primacy config edit …"
            ) from error
        content = path.read_bytes()
        if content == before:
            return content
        try:
            check_document(content, form, path.name)
        except CommandFailed as failed:
            if not sys.stdin.isatty():
                raise
            click.echo(failed.message, err=True)
            if not click.confirm("Edit it again?", default=True, err=True):
                raise
        else:
            return content
