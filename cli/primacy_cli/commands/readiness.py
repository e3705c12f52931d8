"""`primacy readiness`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy.v1.election_service_pb2 import ExplainElectionResponse
    from primacy.v1.policy_service_pb2 import GetPolicyResponse
    from primacy.v1.status_service_pb2 import GetStatusResponse

    from primacy_cli.prospects import Prospect
    from primacy_cli.tables import Renderable


@click.command("readiness")
@with_session
def command(session: Session) -> None:
    """Say for every region what happens if it dies now: who takes over, at what price, and what is in the way.

    Exit code 1 when the loss of some region would leave no region that can be active, 0 otherwise. Changes nothing.

    \b
    Examples:
        primacy readiness
        primacy readiness -o json
    """
    from primacy.v1.policy_service_pb2 import GetPolicyRequest
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub
    from primacy.v1.status_service_pb2 import GetStatusRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    status = session.ask(StatusServiceStub(session.channel).GetStatus, GetStatusRequest(group=session.group))
    policy = session.ask(PolicyServiceStub(session.channel).GetPolicy, GetPolicyRequest(group=session.group))
    found = _prospects(session, status)
    better = _failback(session, status)
    if session.for_people:
        from primacy_cli.tables import print_tables

        print_tables(_shown(found, policy, better))
    else:
        session.print_content(_content(status, policy, found, better))
    lost = [each.region for each in found if not each.ready]
    if lost or not found:
        text = f"without {' or '.join(lost)} no region could be active" if lost else "there is no region"
        raise CommandFailed(text, REFUSED, "primacy explain" + (f" --if-down {lost[0]}" if lost else ""))


def _prospects(session: Session, status: GetStatusResponse) -> list[Prospect]:
    from primacy_cli.prospects import prospect

    if status.active_region:
        then = _if_down(session, status.active_region)
        return [prospect(status, region.name, then) for region in status.regions]
    return [prospect(status, region.name, _if_down(session, region.name)) for region in status.regions]


def _if_down(session: Session, region: str) -> ExplainElectionResponse:
    from primacy.v1.election_service_pb2 import ExplainElectionRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub

    request = ExplainElectionRequest(group=session.group, if_down=region)
    return session.ask(ElectionServiceStub(session.channel).ExplainElection, request)


def _failback(session: Session, status: GetStatusResponse) -> str:
    """A region that the coordinator said could take the lease back, if that still holds. Empty: none."""
    from primacy.v1.election_service_pb2 import ExplainElectionRequest, ListFailoversRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
    from primacy.v1.status_service_pb2 import ListEventsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = ListEventsRequest(group=session.group, kinds=["failback-possible"], page_size=1)
    try:
        said = session.ask(StatusServiceStub(session.channel).ListEvents, request).events
    except CommandFailed as failed:
        if not failed.lost:
            raise
        return ""  # The journal is in trouble: this is the hint alone.
    if not said or not status.active_region or said[0].region == status.active_region:
        return ""
    stub = ElectionServiceStub(session.channel)
    moves = session.ask(stub.ListFailovers, ListFailoversRequest(group=session.group, page_size=1)).failovers
    if moves and moves[0].start_time.ToNanoseconds() > said[0].time.ToNanoseconds():
        return ""
    now = session.ask(stub.ExplainElection, ExplainElectionRequest(group=session.group))
    fit = {each.region for each in now.candidates if each.eligible and not each.rule}
    return said[0].region if said[0].region in fit else ""


def _shown(found: list[Prospect], policy: GetPolicyResponse, better: str) -> Renderable:
    from rich.text import Text

    from primacy_cli.prices import price_text
    from primacy_cli.prospects import Outcome
    from primacy_cli.tables import lines, stack, table
    from primacy_cli.words import length

    styles = {Outcome.MOVES: "green", Outcome.STAYS: "green", Outcome.BY_HAND: "yellow", Outcome.NOBODY: "bold red"}
    rows = []
    for each in found:
        role = Text("active", style="bold green") if each.active else Text("standby")
        outcome = Text(each.outcome, style=styles[each.outcome])
        price = price_text(each.price) if each.price is not None else ""
        rows.append((each.region, role, outcome, each.target or "-", ", ".join(each.behind), price, _in_the_way(each)))
    notes = []
    if policy.worst_case.terms:
        notes.append(
            f"A failover takes at most {length(policy.worst_case.total)}, besides round trips (`primacy policy check`)."
        )
    if better:
        notes.append(
            f"{better} comes before the active region and is fit: `primacy failover --to {better}` moves back."
        )
    heads = ("IF IT DIES", "ROLE", "THE LEASE", "ACTIVE THEN", "NEXT", "PRICE", "IN THE WAY")
    return stack(table(heads, rows) if rows else None, lines(notes) if notes else None)


def _in_the_way(each: Prospect) -> str:
    rules = (f"{other.region}: {other.rule}{' (soft)' if other.eligible else ''}" for other in each.refused)
    return "; ".join((*each.obstacles, *rules))


def _content(
    status: GetStatusResponse, policy: GetPolicyResponse, found: list[Prospect], better: str
) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    def fields(message: Any) -> Any:
        return MessageToDict(message, always_print_fields_with_no_presence=True)

    return {
        "group": status.group,
        "activeRegion": status.active_region,
        "ready": bool(found) and all(each.ready for each in found),
        "worstCase": fields(policy.worst_case),
        "failbackTo": better,
        "regions": [
            {
                "region": each.region,
                "active": each.active,
                "ready": each.ready,
                "outcome": each.outcome.name,
                "target": each.target,
                "next": list(each.behind),
                "price": fields(each.price) if each.price is not None else None,
                "obstacles": list(each.obstacles),
                "rules": [
                    {
                        "region": other.region,
                        "rule": other.rule,
                        "soft": other.soft,
                        "eligible": other.eligible,
                        "detail": other.detail,
                    }
                    for other in each.refused
                ],
            }
            for each in found
        ],
    }
