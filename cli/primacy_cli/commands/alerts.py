"""`primacy alerts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.failures import REFUSED, CommandFailed
from primacy_cli.session import Session, owner, with_session

if TYPE_CHECKING:
    from primacy.v1.status_service_pb2 import ListAlertsResponse

    from primacy_cli.tables import Renderable

SEVERITIES = {"info": 1, "warning": 2, "critical": 3}
"""Word -> Severity."""
TEST_S_MAX = 70.0
"""Longer than any sink waits for an answer."""


@click.group("alerts", invoke_without_command=True)
@click.option(
    "--all", "everything", is_flag=True, help="Also what is explained, may fire soon, or is over; and all sinks."
)
@click.option(
    "--fail-on",
    type=click.Choice(list(SEVERITIES)),
    help="Exit with 1 while an alert of at least that severity fires; for scripts.",
)
@with_session
@click.pass_context
def command(context: click.Context, session: Session, everything: bool, fail_on: str | None) -> None:
    """Show what is wrong, the worst first, and what to do about it. Alone, it lists the alerts.

    One fault often has many symptoms: those are shown with their cause, and nobody is paged for them.

    \b
    Examples:
        primacy alerts
        primacy alerts --all
        primacy alerts ack region-down/us-east --reason "the provider is on it"
        primacy alerts test
        primacy alerts --fail-on critical -o json
    """
    if context.invoked_subcommand is not None:
        return
    from primacy.v1.status_service_pb2 import ListAlertsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = ListAlertsRequest(group=session.group, include_resolved=everything)
    response = session.ask(StatusServiceStub(session.channel).ListAlerts, request)
    session.show(response, lambda: _shown(response, everything))
    if fail_on:
        _fail_on(response, fail_on)


def _shown(response: ListAlertsResponse, everything: bool) -> Renderable:
    import time

    from primacy_cli.alerts_table import alerts_screen

    return alerts_screen(response, time.time_ns(), everything)


def _fail_on(response: ListAlertsResponse, severity: str) -> None:
    from primacy.v1.monitoring_pb2 import ALERT_STATE_FIRING

    found = [
        alert.id
        for alert in response.alerts
        if alert.state == ALERT_STATE_FIRING and not alert.cause_id and alert.severity >= SEVERITIES[severity]
    ]
    if found:
        raise CommandFailed(f"firing: {', '.join(found)}", REFUSED, "primacy alerts")


@command.command("ack")
@click.argument("alert_id", metavar="ID")
@click.option("--reason", required=True, help="Why, or what is being done: whoever is paged next reads it.")
@with_session
def acknowledge(session: Session, alert_id: str, reason: str) -> None:
    """Say that you look after an alert: webhooks are not told of it again until it has ended.

    It still shows, with your name. When it becomes worse, everybody is told again.

    \b
    Example:
        primacy alerts ack region-down/us-east --reason "the provider is on it"
    """
    from primacy.v1.status_service_pb2 import AcknowledgeAlertRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = AcknowledgeAlertRequest(group=session.group, id=alert_id, reason=reason, owner=owner())
    response = session.ask(StatusServiceStub(session.channel).AcknowledgeAlert, request)
    session.show(response, lambda: f"{response.alert.acknowledged_by} looks after {response.alert.id}.")


@command.command("test")
@click.option("--sink", default="", metavar="NAME", help="Only this one, by its name in `primacy alerts --all`.")
@with_session
def test(session: Session, sink: str) -> None:
    """Send a test alert to whoever is told of alerts, now. Exit code 1 when one does not take it.

    \b
    Examples:
        primacy alerts test
        primacy alerts test --sink webhook
    """
    from primacy.v1.status_service_pb2 import TestAlertSinksRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    request = TestAlertSinksRequest(group=session.group, sink=sink)
    response = session.ask(StatusServiceStub(session.channel).TestAlertSinks, request, TEST_S_MAX)
    if session.for_people:
        from primacy_cli.alerts_table import sinks_table
        from primacy_cli.tables import print_tables

        print_tables(sinks_table(response.sinks) if response.sinks else "Nobody is told of alerts: see docs/alerts.md.")
    else:
        session.print_message(response)
    failed = [f"{one.name}: {one.trouble}" for one in response.sinks if one.trouble]
    if failed:
        raise CommandFailed(
            "; ".join(failed), REFUSED, "mend `alerts` in the coordinator's settings, then start it again"
        )
