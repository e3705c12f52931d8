"""`primacy doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session, with_session

if TYPE_CHECKING:
    from primacy_cli.checkup.checks import Check
    from primacy_cli.tables import Renderable


@click.command("doctor")
@with_session
def command(session: Session) -> None:
    """Look for what would hurt at the next failover, and say what to do about it.

    Checks that the lease is held, that agents are connected, alike and on time, that regions reach each other both
    ways and at the way in that users take, that hooks can be run, where the coordinator stands, its store, what is
    overridden, and whether the policy fits the group. Exit code 1 when a check fails; warnings are no failure.

    \b
    Examples:
        primacy doctor
        primacy doctor -o json
    """
    checks = _checks(session)
    if session.for_people:
        from primacy_cli.tables import print_tables

        print_tables(_shown(checks))
    else:
        from primacy_cli.checkup.checks import Level

        session.print_content(
            {
                "failed": sum(check.level is Level.FAIL for check in checks),
                "warned": sum(check.level is Level.WARN for check in checks),
                "checks": [
                    {"name": each.name, "level": each.level.name, "found": each.found, "advice": each.advice}
                    for each in checks
                ],
            }
        )
    bad = [check for check in checks if check.level.name == "FAIL"]
    if bad:
        raise CommandFailed(f"{len(bad)} of {len(checks)} checks failed", REFUSED, bad[0].advice)


def _checks(session: Session) -> list[Check]:
    """Raises CommandFailed when the coordinator cannot be asked at all."""
    from primacy.v1.election_service_pb2 import ListFailoversRequest
    from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
    from primacy.v1.policy_service_pb2 import GetPolicyRequest
    from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub
    from primacy.v1.status_service_pb2 import GetStatusRequest, ListEventsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    from primacy_cli.checkup import agents, links, placement, settings

    stub = StatusServiceStub(session.channel)
    status = session.ask(stub.GetStatus, GetStatusRequest(group=session.group))
    policy = session.ask(PolicyServiceStub(session.channel).GetPolicy, GetPolicyRequest(group=session.group))
    elections = ElectionServiceStub(session.channel)
    moves = session.ask(elections.ListFailovers, ListFailoversRequest(group=session.group, page_size=20)).failovers
    journal_fault = ""
    try:
        session.ask(stub.ListEvents, ListEventsRequest(group=session.group, page_size=1))
    except CommandFailed as failed:
        journal_fault = failed.message
    return [
        *settings.store(status, journal_fault),
        *settings.lease(status),
        *agents.sessions(status),
        *agents.versions(status),
        *agents.clocks(status),
        *agents.ports(status),
        *links.links(status),
        *agents.hooks(status, moves),
        *placement.placement(status, session.address),
        *settings.overrides(status),
        *settings.policy(status, policy),
    ]


def _shown(checks: list[Check]) -> Renderable:
    from rich.text import Text

    from primacy_cli.checkup.checks import Level
    from primacy_cli.tables import table

    styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
    rows: list[tuple[str | Text, ...]] = []
    for each in checks:
        text = Text(each.found)
        if each.advice:
            text.append(f"\n→ {each.advice}", style="bold")
        rows.append((Text(each.level.name.lower(), style=styles[each.level]), each.name, text))
    return table(("", "CHECK", "FOUND"), rows)
