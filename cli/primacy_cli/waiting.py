"""Looks at something that the coordinator does until it is done, and shows meanwhile how far it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from primacy_cli.failures import UNREACHABLE, CommandFailed

LOOK_S = 0.1
T = TypeVar("T")


def look_until(
    first: T,
    look: Callable[[], T],
    done: Callable[[T], bool],
    tell: Callable[[T], str],
    seconds: float,
    late: CommandFailed,
) -> T:
    """Look until it is done. Raises `late` after `seconds`, and CommandFailed for a refused look.

    What is looked at outlives the coordinator's restart, and so does the looking.
    """
    seen = first
    deadline_s = time.monotonic() + seconds
    with _progress() as show:
        while not done(seen):
            show(tell(seen))
            if time.monotonic() > deadline_s:
                raise late
            time.sleep(LOOK_S)
            try:
                seen = look()
            except CommandFailed as failed:
                if failed.exit_code != UNREACHABLE:
                    raise
    return seen


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A line on the terminal; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True, highlight=False).status("") as status:
        yield lambda text: status.update(Text(text))
