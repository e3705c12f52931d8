"""`primacy recover`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.group_service_pb2 import RecoverGroupResponse

    from primacy_cli.tables import Renderable


@click.command("recover")
@click.option("--dry-run", is_flag=True, help="Show what is known and what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def command(session: Session, dry_run: bool, yes: bool) -> None:
    """Let a coordinator decide again whose store is an older copy, or empty.

    Such a coordinator grants and renews nothing: agents know of epochs that it does not. This shows what each agent
    reports and what would be done, and asks. Make sure first that no other coordinator still answers the agents: with
    two of them, two regions could be active.

    \b
    Examples:
        primacy recover --dry-run
        primacy recover --yes
    """
    from primacy.v1.group_service_pb2 import RecoverGroupRequest
    from primacy.v1.group_service_pb2_grpc import GroupServiceStub

    stub = GroupServiceStub(session.channel)
    request = RecoverGroupRequest(group=session.group, owner=owner(), validate_only=True)
    planned = session.ask(stub.RecoverGroup, request)
    if dry_run or not planned.plan.needed:
        session.show(planned, lambda: _shown(planned))
        return
    if not yes:
        if session.for_people:
            session.show(planned, lambda: _shown(planned))
        if planned.plan.missing_agents:
            missing = ", ".join(planned.plan.missing_agents)
            session.note(
                f"Not heard: {missing}. If another coordinator still answers them, two regions could be active."
            )
        session.confirm(f"Go on with epoch {planned.plan.next_epoch}?")
    request.validate_only = False
    response = session.ask(stub.RecoverGroup, request)
    session.show(response, lambda: _shown(response))


def _shown(response: RecoverGroupResponse) -> Renderable:
    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import clock, length

    plan = response.plan
    if not plan.needed:
        return "Nothing to recover: the coordinator trusts its store."
    agents = [
        (
            agent.agent,
            str(agent.heard_epoch),
            str(agent.held_epoch) if agent.held_epoch else "",
            length(agent.last_report_age) if agent.HasField("last_report_age") else "never",
            agent.store_id or "none",
        )
        for agent in plan.agents
    ]
    return stack(
        facts(
            [
                ("doubt", plan.reason),
                ("since", clock(plan.since_time) if plan.HasField("since_time") else ""),
                ("ends", _ending(plan.operator_needed, plan.confirmed)),
                ("not heard", ", ".join(plan.missing_agents)),
                ("goes on with", f"epoch {plan.next_epoch}"),
                ("not before", clock(plan.earliest_time) if plan.HasField("earliest_time") else ""),
                ("wait", length(plan.wait)),
            ]
        ),
        table(("AGENT", "HEARD EPOCH", "HOLDS", "REPORT", "STORE"), agents, right=("HEARD EPOCH", "HOLDS"))
        if agents
        else "No agent has reported yet.",
    )


def _ending(operator_needed: bool, confirmed: bool) -> str:
    if confirmed:
        return "an operator has confirmed: after the wait"
    if operator_needed:
        return "only when an operator says so: an agent follows another store"
    return "by itself, when every agent was heard and the wait is over; or when an operator says so"
