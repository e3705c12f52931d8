"""What every override needs: a reason, an owner and an end. Said, shown and agreed to before it is set."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import click

from primacy_cli.failures import USAGE, CommandFailed
from primacy_cli.session import owner as login

if TYPE_CHECKING:
    from primacy_cli.session import Session


@dataclass(frozen=True, slots=True)
class Terms:
    """Why, by whom and until when."""

    reason: str
    owner: str
    expire: datetime | None
    """None: the coordinator's default, an hour."""

    def fill(self, request: Any) -> None:
        """Put them into a request that takes `reason`, `owner` and `expire_time`."""
        request.reason, request.owner = self.reason, self.owner
        if self.expire is not None:
            request.expire_time.FromDatetime(self.expire)


def with_terms(function: Callable[..., None]) -> Callable[..., None]:
    """The options of every override, and `terms` made of them. Stands below `with_session`."""

    @functools.wraps(function)  # That takes the options along that click found below this one.
    def run(
        session: Session, *, reason: str, length: str | None, until: str | None, owner: str, **arguments: Any
    ) -> None:
        function(session, terms=_terms(reason, length, until, owner), **arguments)

    command: Callable[..., None] = run
    for option in reversed(
        (
            click.option("--reason", default="", metavar="TEXT", help="Why, for everyone who sees it. Required."),
            click.option("--for", "length", metavar="TIME", help='How long: "30m", "2h", at most 72h. [default: 1h]'),
            click.option("--until", metavar="TIME", help='Instead: until when, such as "18:30" or "2030-01-31T18:30".'),
            click.option("--owner", default="", metavar="NAME", help="Who answers for it. [default: you]"),
            click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing."),
            click.option("--yes", is_flag=True, help="Do not ask."),
        )
    ):
        command = option(command)
    return command


owner_option = click.option("--owner", default="", metavar="NAME", help="Who does it. [default: you]")
rule_option = click.option("--override", "overrides", multiple=True, metavar="RULE", help="Pass over a rule.")


def owner_or_login(owner: str) -> str:
    return owner or login()


def _terms(reason: str, length: str | None, until: str | None, owner: str) -> Terms:
    """Raises CommandFailed for what is missing or cannot be meant. The coordinator judges the values."""
    context = click.get_current_context()
    path = context.command_path
    if not reason.strip():
        raise CommandFailed(
            "an override needs a reason: everyone who finds it will ask", USAGE, f'{_so_far(context)} --reason "why"'
        )
    if length is not None and until is not None:
        raise CommandFailed("--for and --until exclude each other", USAGE, f"{path} --help")
    expire = None
    if length is not None:
        expire = datetime.now(UTC) + _length(length)
    elif until is not None:
        expire = _instant(until, datetime.now(UTC).astimezone())
    return Terms(reason.strip(), owner_or_login(owner), expire)


def _so_far(context: click.Context) -> str:
    """The command with its arguments, as it was typed."""
    words = [context.command_path]
    for parameter in context.command.params:
        if isinstance(parameter, click.Argument):
            value = context.params.get(parameter.name or "")
            words += value if isinstance(value, tuple) else [str(value)]
    return " ".join(words)


def _length(text: str) -> timedelta:
    from primacy_wire.durations import Duration

    try:
        return timedelta(seconds=Duration.of(float(text) if text.replace(".", "", 1).isdigit() else text).seconds)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(str(error), param_hint="--for") from error


def _instant(text: str, now: datetime) -> datetime:
    """A time of day, of today or else of tomorrow; or a date with a time, local unless it names its zone."""
    advice = 'must be a time such as "18:30", or a date with one such as "2030-01-31T18:30"'
    try:
        if "-" not in text:
            found = datetime.combine(now.date(), time.fromisoformat(text), now.tzinfo)
            return (found if found > now else found + timedelta(days=1)).astimezone(UTC)
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(advice, param_hint="--until") from error


def agree(session: Session, lines: list[str], question: str, yes: bool) -> None:
    """Show what would happen and ask, unless --yes is given. Raises CommandFailed."""
    if yes:
        return
    for line in lines:
        session.note(line)
    session.confirm(question)
