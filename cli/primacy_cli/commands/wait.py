"""`primacy wait`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from primacy_cli.failures import TIMED_OUT, UNREACHABLE, USAGE, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.region_pb2 import Region
    from primacy.v1.status_service_pb2 import GetStatusResponse

LOOK_S = 0.1
ANSWER_S_MAX = 2.0
FORMS = "active, active=REGION, epoch=N, healthy (all), healthy=REGION, status=REGION:STATUS"


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that may become so."""

    text: str
    holds: Callable[[GetStatusResponse], bool]
    seen: Callable[[GetStatusResponse], str]
    """How it is instead, for people."""


@click.command("wait")
@click.option("--for", "conditions", multiple=True, required=True, metavar="CONDITION", help=f"One of {FORMS}.")
@click.option("--timeout", default="60s", show_default=True, metavar="TIME", help='Such as "60s", "500ms", "2m".')
@with_session
def command(session: Session, conditions: tuple[str, ...], timeout: str) -> None:
    """Wait until the group is as wanted; with several --for, until all hold at once.

    Exit code 4 when that does not happen in time, 3 when no coordinator answered in all that time.

    \b
    Examples:
        primacy wait --for active=eu-west --timeout 60s
        primacy wait --for healthy=us-east --for healthy=eu-west
        primacy wait --for status=us-east:DOWN
        primacy wait --for epoch=4          the newest epoch is 4 or higher, and accepted
    """
    wanted = [_condition(text) for text in conditions]
    seconds = _seconds(timeout)
    deadline_s = time.monotonic() + seconds
    status: GetStatusResponse | None = None
    unreachable: CommandFailed | None = None
    while True:
        try:
            status = _status(session, deadline_s)
        except CommandFailed as failed:
            if failed.exit_code != UNREACHABLE:
                raise
            unreachable = failed  # It may be starting: that is what scripts wait for, too.
        else:
            unreachable = None
            if all(condition.holds(status) for condition in wanted):
                if not session.for_people:
                    session.print_message(status)
                return
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            break
        time.sleep(min(LOOK_S, left_s))
    if status is None and unreachable is not None:
        raise unreachable
    texts = ", ".join(condition.text for condition in wanted)
    seen = "the coordinator does not answer any more" if unreachable else _seen(wanted, status)
    raise CommandFailed(f"{texts}: not within {timeout}; {seen}", TIMED_OUT, "primacy status")


def _status(session: Session, deadline_s: float) -> GetStatusResponse:
    from primacy.v1.status_service_pb2 import GetStatusRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    patience_s = min(ANSWER_S_MAX, max(LOOK_S, deadline_s - time.monotonic()))
    request = GetStatusRequest(group=session.group)
    return session.ask(StatusServiceStub(session.channel).GetStatus, request, seconds=patience_s)


def _seen(wanted: list[Condition], status: GetStatusResponse | None) -> str:
    if status is None:
        return ""
    return ", ".join(dict.fromkeys(each.seen(status) for each in wanted if not each.holds(status)))


def _seconds(text: str) -> float:
    from primacy_wire.durations import Duration

    try:
        return float(Duration.of(float(text) if text.replace(".", "", 1).isdigit() else text).seconds)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from error


def _condition(text: str) -> Condition:
    """Raises CommandFailed for what is no condition."""
    kind, equals, value = text.partition("=")
    match kind:
        case "active" if not equals:
            return Condition(text, lambda status: bool(status.active_region), lambda _: "no region is active")
        case "active" if value:
            return Condition(text, lambda status: status.active_region == value, _active_seen)
        case "epoch" if value.isascii() and value.isdigit():
            return Condition(
                text,
                lambda status: status.lease.accepted_epoch >= int(value),
                lambda status: f"the newest accepted epoch is {status.lease.accepted_epoch}",
            )
        case "healthy" if not equals:
            return Condition(text, _all_healthy, lambda status: ", ".join(map(_region_seen, status.regions)))
        case "healthy" if value:
            return _status_condition(text, value, "HEALTHY")
        case "status" if ":" in value:
            name, _, wanted = value.rpartition(":")
            return _status_condition(text, name, wanted)
        case _:
            raise CommandFailed(f"--for {text}: is none of {FORMS}", USAGE, "primacy wait --help")


def _active_seen(status: GetStatusResponse) -> str:
    return f"{status.active_region or 'no region'} is active"


def _all_healthy(status: GetStatusResponse) -> bool:
    return bool(status.regions) and all(_word(region) == "HEALTHY" for region in status.regions)


def _status_condition(text: str, name: str, wanted: str) -> Condition:
    from primacy.v1.region_pb2 import RegionStatus

    word = wanted.upper().removeprefix("REGION_STATUS_")
    known = [each.name.removeprefix("REGION_STATUS_") for each in RegionStatus.DESCRIPTOR.values[1:]]
    if word not in known:
        raise CommandFailed(f"--for {text}: {wanted!r} is none of {', '.join(known)}", USAGE, "primacy wait --help")

    def find(status: GetStatusResponse) -> Region | None:
        return next((region for region in status.regions if region.name == name), None)

    def holds(status: GetStatusResponse) -> bool:
        region = find(status)
        return region is not None and _word(region) == word

    def seen(status: GetStatusResponse) -> str:
        region = find(status)
        return _region_seen(region) if region is not None else f"there is no region {name!r}"

    return Condition(text, holds, seen)


def _word(region: Region) -> str:
    from primacy.v1 import region_pb2

    from primacy_cli.words import word

    return word(region_pb2.RegionStatus, region.status)


def _region_seen(region: Region) -> str:
    return f"{region.name} is {_word(region)}"
