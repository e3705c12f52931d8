"""Waits until every region has applied an entry of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_cli.failures import REFUSED, TIMED_OUT, CommandFailed

if TYPE_CHECKING:
    from primacy.v1.replication_pb2 import RegionReplication
    from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse

    from primacy_cli.session import Session


def wait_for_regions(session: Session, sequence: int, seconds: float) -> None:
    """Asks the coordinator. Raises CommandFailed: TIMED_OUT names who is behind, REFUSED who has put it aside."""
    from primacy.v1.replication_service_pb2 import GetReplicationStatusRequest
    from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub

    from primacy_cli.agents import group_of_agent
    from primacy_cli.waiting import look_until

    stub = ReplicationServiceStub(session.channel)
    request = GetReplicationStatusRequest(group=group_of_agent(session))
    seen = session.ask(stub.GetReplicationStatus, request)
    _check_parked(seen, sequence)

    def look() -> GetReplicationStatusResponse:
        nonlocal seen
        seen = session.ask(stub.GetReplicationStatus, request)
        _check_parked(seen, sequence)
        return seen

    late = CommandFailed("", TIMED_OUT)
    try:
        look_until(
            seen, look, lambda one: not behind(one, sequence), lambda one: _waits_for(one, sequence), seconds, late
        )
    except CommandFailed as failed:
        if failed is not late:
            raise
        text = f"entry {sequence} is in the log, but was not applied everywhere in time: {_waits_for(seen, sequence)}"
        raise CommandFailed(text, TIMED_OUT, "primacy replication") from None
    session.note(f"every region has applied entry {sequence}")


def behind(status: GetReplicationStatusResponse, sequence: int) -> list[RegionReplication]:
    """Regions that have not settled the log up to there, as far as is known: one that is not heard is behind."""
    return [region for region in status.regions if not region.heard or region.settled < sequence]


def _waits_for(status: GetReplicationStatusResponse, sequence: int) -> str:
    from primacy_cli.words import plural

    texts = [
        f"{region.region} lacks {plural(sequence - region.settled, 'entry')}"
        if region.heard
        else f"{region.region} is not heard"
        for region in behind(status, sequence)
    ]
    return ", ".join(texts) or "the coordinator went away"


def _check_parked(status: GetReplicationStatusResponse, sequence: int) -> None:
    for region in status.regions:
        for one in region.parked:
            if one.sequence == sequence:
                raise CommandFailed(
                    f"{one.agent or region.region} has put entry {sequence} aside: {one.reason}",
                    REFUSED,
                    f"mend that, then `primacy retry {region.region} {sequence}`",
                )
