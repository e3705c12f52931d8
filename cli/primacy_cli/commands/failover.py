"""`primacy failover`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, TIMED_OUT, USAGE, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.election_pb2 import Failover
    from primacy.v1.election_service_pb2 import FailoverRequest, FailoverResponse

    from primacy_cli.tables import Renderable


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
@click.option("--approve", metavar="ID", default="", help="Let a move go on that waits because of its price.")
@click.option("--cancel", metavar="ID", default="", help="Give a move up that has not released the old lease yet.")
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
    approve: str,
    cancel: str,
    dry_run: bool,
    yes: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Move the active lease to another region; or decide about a move that waits for it.

    Shows what would happen and what it would cost, and asks, unless --yes is given.

    \b
    Examples:
        primacy failover --to eu-west --reason "maintenance"
        primacy failover --yes --if-epoch 7
        primacy failover --approve ID       an id as `primacy status` shows it
    """
    if approve or cancel:
        if (approve and cancel) or target or forced or fenced or overrides or if_epoch is not None or dry_run:
            raise CommandFailed(
                "--approve and --cancel stand alone, with --reason, --yes, --wait and --timeout at most",
                USAGE,
                "primacy failover --help",
            )
        if approve:
            _approve(session, approve, reason, yes, timeout if wait else 0.0)
        else:
            _cancel(session, cancel, reason, yes)
        return
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


def _move(session: Session, request: FailoverRequest, wait: bool, timeout_s: float) -> None:
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    response = session.ask(ElectionServiceStub(session.channel).Failover, request)
    if wait:
        _await_end(session, response.failover, timeout_s)
    session.show(response, lambda: _moved_shown(response.failover, session.wide))
    _check_moved(response.failover)


def _check_moved(failover: Failover) -> None:
    """Raises CommandFailed."""
    from primacy.v1 import election_pb2

    if failover.state in (election_pb2.FAILOVER_STATE_FAILED, election_pb2.FAILOVER_STATE_ABORTED):
        raise CommandFailed("the active lease was not moved", REFUSED, f"primacy history {failover.id}")


def _approve(session: Session, move: str, reason: str, yes: bool, wait_s: float) -> None:
    from primacy.v1.election_service_pb2 import ApproveFailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    if not yes:
        _show_move(session, move)
        session.confirm("Move the active lease at this price?")
    request = ApproveFailoverRequest(group=session.group, id=move, reason=reason, owner=owner())
    response = session.ask(ElectionServiceStub(session.channel).ApproveFailover, request)
    if wait_s:
        _await_end(session, response.failover, wait_s)
    session.show(response, lambda: _moved_shown(response.failover, session.wide))
    _check_moved(response.failover)


def _cancel(session: Session, move: str, reason: str, yes: bool) -> None:
    from primacy.v1.election_service_pb2 import CancelFailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    if not yes:
        _show_move(session, move)
        session.confirm("Give this move up?")
    request = CancelFailoverRequest(group=session.group, id=move, reason=reason, owner=owner())
    response = session.ask(ElectionServiceStub(session.channel).CancelFailover, request)
    session.show(response, lambda: _moved_shown(response.failover, session.wide))


def _show_move(session: Session, move: str) -> None:
    """What is decided about, and what there is to lose either way."""
    from primacy.v1.election_service_pb2 import GetFailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    from primacy_cli.prices import price_text

    request = GetFailoverRequest(group=session.group, id=move)
    failover = session.ask(ElectionServiceStub(session.channel).GetFailover, request).failover
    session.note(f"From {failover.from_region or 'no active region'} to {failover.to_region or '?'}: {failover.cause}")
    session.note(f"Price: {price_text(failover.price) if failover.HasField('price') else 'not known'}.")
    if failover.explanation:
        session.note(failover.explanation)


def _await_end(session: Session, failover: Failover, seconds: float) -> None:
    """Look at the move until it is done, and show meanwhile how far it is. Raises CommandFailed."""
    from primacy.v1.election_service_pb2 import GetFailoverRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    from primacy_cli.waiting import look_until

    stub = ElectionServiceStub(session.channel)
    request = GetFailoverRequest(group=session.group, id=failover.id)
    late = f"not done after {seconds:g} s; the move goes on"
    ended = look_until(
        failover,
        lambda: session.ask(stub.GetFailover, request).failover,
        lambda seen: seen.HasField("end_time"),
        _progress_line,
        seconds,
        CommandFailed(late, TIMED_OUT, f"primacy history {failover.id}"),
    )
    if ended is not failover:
        failover.CopyFrom(ended)


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
    return [heading, *steps, cost, *_price_line(plan)]


def _price_line(plan: FailoverResponse) -> list[str]:
    from primacy_cli.prices import price_text

    price = plan.price if plan.HasField("price") else plan.failover.price
    return [f"Price: {price_text(price)}."] if plan.HasField("price") or plan.failover.HasField("price") else []


def _plan_shown(plan: FailoverResponse) -> Renderable:
    from primacy_cli.elections_table import candidates_table
    from primacy_cli.tables import lines, stack

    candidates = plan.failover.candidates
    return stack(lines(_plan_lines(plan)), candidates_table(candidates) if candidates else None)


def _moved_shown(failover: Failover, wide: bool) -> Renderable:
    from primacy_cli.elections_table import failover_details

    return failover_details(failover, wide)
