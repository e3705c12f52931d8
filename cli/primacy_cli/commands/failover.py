"""`primacy failover`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, TIMED_OUT, UNREACHABLE, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.election_pb2 import Failover
    from primacy.v1.election_service_pb2 import FailoverRequest, FailoverResponse

    from primacy_cli.tables import Renderable

LOOK_S = 0.1


@click.command("failover")
@click.option("--to", "target", metavar="REGION", default="", help="Where to. Default: the best region.")
@click.option("--forced", is_flag=True, help="Skip ranking and catching up. The old lease is still waited for.")
@click.option("--reason", default="", help="Why, for the history.")
@click.option("--if-epoch", type=int, metavar="N", help="Only if the newest epoch is N.")
@click.option("--override", "overrides", multiple=True, metavar="RULE", help="Pass over a rule. May be repeated.")
@click.option(
    "--i-have-fenced",
    "fenced",
    metavar="REGION",
    default="",
    help="Do not wait for this region's lease: you made sure by other means that it does nothing any more.",
)
@click.option("--dry-run", is_flag=True, help="Say what would happen, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Return when the move is done.")
@click.option("--timeout", default=120.0, show_default=True, type=click.FloatRange(0.1), help="Seconds to wait for it.")
@with_session
def command(
    session: Session,
    target: str,
    forced: bool,
    reason: str,
    if_epoch: int | None,
    overrides: tuple[str, ...],
    fenced: str,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Move the active lease to another region.

    Shows what would happen and asks, unless --yes is given.

    \b
    Examples:
        primacy failover --to eu-west --reason "maintenance"
        primacy failover --yes --if-epoch 7
    """
    from primacy.v1 import election_pb2
    from primacy.v1.election_service_pb2 import FailoverRequest

    request = FailoverRequest(
        group=session.group,
        target_region=target,
        mode=election_pb2.FAILOVER_MODE_FORCED if forced else election_pb2.FAILOVER_MODE_PLANNED,
        reason=reason,
        override_rules=[rule.upper() for rule in overrides],
        holder_fenced=fenced,
        owner=owner(),
        if_epoch=if_epoch,
    )
    if dry_run:
        plan = _plan(session, request)
        session.show(plan, lambda: _plan_shown(plan))
        return
    if not yes:
        _agree(session, request)
    _move(session, request, wait, timeout)


def _plan(session: Session, request: FailoverRequest) -> FailoverResponse:
    from primacy.v1.election_service_pb2 import FailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    asked = FailoverRequest()
    asked.CopyFrom(request)
    asked.validate_only = True
    return session.ask(ElectionServiceStub(session.channel).Failover, asked)


def _agree(session: Session, request: FailoverRequest) -> None:
    """Show the plan and ask; then only what was shown is moved."""
    from primacy.v1.election_service_pb2 import GetActiveRegionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    stub = ElectionServiceStub(session.channel)
    seen = session.ask(stub.GetActiveRegion, GetActiveRegionRequest(group=session.group))
    if not request.HasField("if_epoch"):
        request.if_epoch = seen.epoch
    plan = _plan(session, request)
    for line in _plan_lines(plan):
        session.note(line)
    if request.holder_fenced:
        session.note(
            f"You vouch that {request.holder_fenced} does nothing any more: if it does, two regions are active."
        )
    session.confirm(f"Move the active lease to {plan.failover.to_region or 'the best region'}?")


def _move(session: Session, request: FailoverRequest, wait: bool, seconds: float) -> None:
    from primacy.v1 import election_pb2
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    response = session.ask(ElectionServiceStub(session.channel).Failover, request)
    if wait:
        _await_end(session, response.failover, seconds)
    session.show(response, lambda: _moved_shown(response, session.wide))
    if response.failover.state in (election_pb2.FAILOVER_STATE_FAILED, election_pb2.FAILOVER_STATE_ABORTED):
        raise CommandFailed("the active lease was not moved", REFUSED, f"primacy history {response.failover.id}")


def _await_end(session: Session, failover: Failover, seconds: float) -> None:
    """Look at the move until it is done, and show meanwhile how far it is. Raises CommandFailed."""
    from primacy.v1.election_service_pb2 import GetFailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    stub = ElectionServiceStub(session.channel)
    request = GetFailoverRequest(group=session.group, id=failover.id)
    deadline_s = time.monotonic() + seconds
    with _progress() as show:
        while not failover.HasField("end_time"):
            show(failover)
            if time.monotonic() > deadline_s:
                raise CommandFailed(
                    f"not done after {seconds:g} s; the move goes on", TIMED_OUT, f"primacy history {failover.id}"
                )
            time.sleep(LOOK_S)
            try:
                failover.CopyFrom(session.ask(stub.GetFailover, request).failover)
            except CommandFailed as failed:
                if failed.exit_code != UNREACHABLE:
                    raise
                # The move outlives the coordinator's restart, and so does the waiting.


@contextmanager
def _progress() -> Iterator[Callable[[Failover], None]]:
    """A line on the terminal that says which phase runs; nothing where there is no terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True, highlight=False).status("") as status:
        yield lambda failover: status.update(Text(_progress_line(failover)))


def _progress_line(failover: Failover) -> str:
    from primacy_cli.words import length

    done = [f"{phase.name} {length(phase.duration)}" for phase in failover.phases if phase.HasField("end_time")]
    running = [f"{phase.name} …" for phase in failover.phases if not phase.HasField("end_time")]
    return f"{failover.from_region or 'none'} → {failover.to_region or '?'}: " + ", ".join([*done, *running])


def _plan_lines(plan: FailoverResponse) -> list[str]:
    from primacy_cli.words import length

    failover = plan.failover
    heading = f"From {failover.from_region or 'no active region'} to {failover.to_region or 'the best region'}:"
    steps = [f"  {index}. {step}" for index, step in enumerate(plan.steps, 1)]
    cost = f"Longest time without an active region: {length(plan.longest_wait)}."
    return [heading, *steps, cost]


def _plan_shown(plan: FailoverResponse) -> Renderable:
    from primacy_cli.elections_table import candidates_table
    from primacy_cli.tables import lines, stack

    candidates = plan.failover.candidates
    return stack(lines(_plan_lines(plan)), candidates_table(candidates) if candidates else None)


def _moved_shown(response: FailoverResponse, wide: bool) -> Renderable:
    from primacy_cli.elections_table import failover_details

    return failover_details(response.failover, wide)
