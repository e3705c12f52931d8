"""What every write into the log takes and tells: its id, how certain it shall be, and what became of it."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session
from primacy_cli.spans import Span

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from primacy.v1.replication_pb2 import Durability
    from primacy.v1.replication_service_pb2 import AppendResponse

Command: TypeAlias = Callable[..., None]
DURABILITIES = {"regions": 1, "local": 2}
"""Word -> Durability."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How one write is made."""

    message: str
    wait_s: float | None
    """Until every region has applied it, for at most so long. None: not at all."""
    id: str = ""
    if_version: int | None = None
    durability: Durability.ValueType = 0  # type: ignore[assignment]


def with_writing(function: Command) -> Command:
    """The options of every write, and `writing` made of them. Stands above the function, below `with_agent`."""

    @functools.wraps(function)  # That takes the options along that click found below this one.
    def run(
        session: Session,
        *,
        message: str,
        if_version: int | None,
        durability: str | None,
        entry_id: str,
        wait: float | None,
        **arguments: Any,
    ) -> None:
        from primacy.v1.replication_pb2 import Durability

        level = Durability.ValueType(DURABILITIES[durability] if durability else 0)
        made = Writing(message, wait, entry_id or secrets.token_hex(16), if_version, level)
        function(session, writing=made, **arguments)

    return _with(
        run,
        _message,
        click.option(
            "--if-version", type=click.IntRange(0), metavar="N", help="Only if this version is the newest; 0: none is."
        ),
        click.option(
            "--durability", type=click.Choice(list(DURABILITIES)), help="When it counts as done. [default: policy]"
        ),
        click.option("--id", "entry_id", default="", metavar="ID", help="Repeated under one id, a write happens once."),
        _wait,
    )


def with_words(function: Command) -> Command:
    """`writing` for commands that know by themselves what they are made from. Stands below `with_agent`."""

    @functools.wraps(function)
    def run(session: Session, *, message: str, wait: float | None, **arguments: Any) -> None:
        function(session, writing=Writing(message, wait, secrets.token_hex(16)), **arguments)

    return _with(run, _message, _wait)


def _with(run: Command, *options: Callable[[Command], Command]) -> Command:
    for option in reversed(options):
        run = option(run)
    return run


_message = click.option("-m", "--message", default="", metavar="TEXT", help="Why, for people.")
_wait = click.option(
    "--wait",
    type=Span(),
    is_flag=False,
    flag_value="10m",
    metavar="[TIME]",
    help="Wait until every region has applied it, TIME at most. [10m, if none is given]",
)


def finish(
    session: Session, response: Message, appended: AppendResponse, what: str, writing: Writing, text: str = ""
) -> None:
    """Tell what became of a write (`text`: in these words) and, if so wanted, wait until it is everywhere.

    Raises CommandFailed for one that is not in force; the response is printed for programs all the same.
    """
    from primacy.v1 import replication_service_pb2

    from primacy_cli.words import word

    outcome = word(replication_service_pb2.AppendOutcome, appended.outcome)
    conflict = appended.conflict_id
    why = {
        "LOST": f"{what} stays as it was: the write lost against one that it did not know of, and {conflict} keeps it",
        "OPEN": f"{what} stays as it was until somebody decides {conflict}",
    }.get(outcome, "")
    if why:
        if not session.for_people:
            session.print_message(response)
        raise CommandFailed(why, REFUSED, f"primacy conflict show {conflict}")
    met = {
        "MERGED": f"; merged with a write that it did not know of: `primacy conflict show {conflict}`",
        "WON": f"; it won over a write that it did not know of: `primacy conflict show {conflict}`",
    }.get(outcome, "")
    risk = "; one region alone has it yet" if appended.at_risk else ""
    said = text or f"{what} {entry_text(appended)}"
    session.show(response, lambda: f"{said}{met}{risk}")
    if writing.wait_s is not None:
        from primacy_cli.applied import wait_for_regions

        wait_for_regions(session, appended.sequence, writing.wait_s)


def entry_text(appended: AppendResponse) -> str:
    return f"version {appended.version}, entry {appended.sequence} of the log"


class Asked:
    """How far a write came."""

    begun = False
    """Whether the agent took it up."""


@contextmanager
def repeatable(writing: Writing) -> Iterator[Asked]:
    """Says of a write that was cut short, or taken only in part, how to go on with the very same one."""
    asked = Asked()
    again = f"the same with --id {writing.id}: it happens once, whatever became of this one"
    try:
        yield asked
    except KeyboardInterrupt:
        raise CommandFailed("stopped; it may be in the log already", REFUSED, again) from None
    except CommandFailed as failed:
        if failed.lost and (asked.begun or failed.reason):
            failed.advice = again
        raise
