"""`primacy model verify`."""

from __future__ import annotations

import click

from primacy_cli.agents import local, with_agent
from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.progress import progress_of
from primacy_cli.session import Session

VERIFY_S_MAX = 24 * 3600.0


@click.command("verify")
@click.argument("name", default="")
@with_agent
def verify(session: Session, name: str) -> None:
    """Read everything again that the agent has, and fetch anew what is damaged. Exit code 1 if anything was.

    \b
    Examples:
        primacy model verify
        primacy model verify bert
    """
    from primacy.agent.v1.local_service_pb2 import VerifyModelsRequest, VerifyModelsResponse

    last = VerifyModelsResponse()
    damaged: list[str] = []
    try:
        with progress_of(session) as progress, session.failures(at_agent=True):
            request = VerifyModelsRequest(group=session.group, name=name)
            for last in local(session).VerifyModels(request, timeout=VERIFY_S_MAX):
                damaged += last.damaged
                note = f"{len(damaged)} damaged" if damaged else ""
                progress.at("verifying", last.bytes_done, last.bytes_total, note)
    except CommandFailed:
        _name(session, damaged)
        raise
    if not last.done:
        raise CommandFailed("the agent ended without an answer", REFUSED, "the same again")
    del last.damaged[:]
    last.damaged.extend(damaged)
    session.show(last, lambda: _text(last.bytes_total, damaged))
    if damaged:
        raise CommandFailed("what was damaged was fetched anew; look at the disk", REFUSED, "primacy model verify")


def _name(session: Session, damaged: list[str]) -> None:
    for one in damaged:
        session.note(f"damaged: {one}")


def _text(total: int, damaged: list[str]) -> str:
    from primacy_cli.words import size

    if not damaged:
        return f"{size(total)} read; all of it is as it should be"
    return "\n".join((f"{size(total)} read; damaged:", *(f"  {one}" for one in damaged)))
