"""What is wrong, the worst first, with what to do; acknowledged and tried out."""

from __future__ import annotations

import json
import re
import time

import click
import grpc
from primacy.v1 import event_pb2, monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_cli.main import COMMANDS, cli
from primacy_coordinator.core.monitor.alerts.catalog import BUILT_IN

from tests.unit.cli.calls import Run, info, run

FIRING, PENDING, RESOLVED = (
    monitoring_pb2.ALERT_STATE_FIRING,
    monitoring_pb2.ALERT_STATE_PENDING,
    monitoring_pb2.ALERT_STATE_RESOLVED,
)


def alert(name: str, severity: str = "CRITICAL", **fields: object) -> monitoring_pb2.Alert:
    made = monitoring_pb2.Alert(
        id=name,
        rule=name.partition("/")[0],
        region=name.partition("/")[2],
        severity=event_pb2.Severity.Value(f"SEVERITY_{severity}"),
        summary=f"{name} is wrong",
        advice=f"mend {name}",
        **{"state": FIRING, **fields},  # type: ignore[arg-type]
    )
    made.start_time.FromNanoseconds(time.time_ns() - 125 * 10**9)
    if made.state == RESOLVED:
        made.resolve_time.FromNanoseconds(time.time_ns() - 65 * 10**9)
    return made


def response() -> pb.ListAlertsResponse:
    made = pb.ListAlertsResponse(
        group="default",
        alerts=[
            alert("region-down/us", explains=["lag/us"], acknowledged_by="ann", acknowledge_reason="on it"),
            alert("flapping/eu", "WARNING"),
            alert("lag/us", "WARNING", cause_id="region-down/us"),
            alert("panic", state=PENDING),
        ],
        sinks=[
            monitoring_pb2.AlertSink(name="pager", address="http://pager/", trouble="connection refused", waiting=2)
        ],
    )
    made.broken_rules["slow"] = "no region has a series 'x'"
    return made


def test_the_worst_stand_first_with_what_to_do() -> None:
    with Run("alerts") as command:
        request = command.answer("StatusService/ListAlerts", response())
    assert not request.include_resolved
    lines = command.result().output.splitlines()
    assert lines[0].split() == ["SEVERITY", "ALERT", "SINCE", "WHAT"]
    assert lines[1].startswith("▲ critical") and "region-down/us" in lines[1] and "2 min 5 s" in lines[1]
    assert "ann looks after it: on it; explains lag/us" in lines[1]
    assert "→ mend region-down/us" in lines[2]
    assert lines[3].startswith("△ warning")
    assert "lag/us is wrong" not in command.result().output
    assert "1 alert may fire soon" in command.result().output
    assert "slow: no region has a series 'x'" in command.result().output
    assert "connection refused" in command.result().output
    assert command.result().exit_code == 0


def test_all_of_it() -> None:
    found = response()
    found.alerts.append(alert("conflict-waiting", "WARNING", state=RESOLVED))
    with Run("alerts", "--all") as command:
        assert command.answer("StatusService/ListAlerts", found).include_resolved
    output = command.result().output
    assert "explained by region-down/us" in output and "may fire soon" in output
    assert "✓ over" in output and "1 min 5 s ago" in output


def test_nothing_is_wrong() -> None:
    with Run("alerts") as command:
        command.answer("StatusService/ListAlerts", pb.ListAlertsResponse(group="default"))
    assert command.result().output == "Nothing is wrong.\n"


def test_scripts_may_fail_on_what_fires() -> None:
    for severity, code in (("critical", 1), ("warning", 1)):
        with Run("alerts", "--fail-on", severity) as command:
            command.answer("StatusService/ListAlerts", response())
        assert command.result().exit_code == code
    with Run("alerts", "--fail-on", "critical", "-o", "json") as command:
        command.answer("StatusService/ListAlerts", pb.ListAlertsResponse(alerts=[alert("flapping/eu", "WARNING")]))
    assert command.result().exit_code == 0
    assert json.loads(command.result().stdout)["alerts"][0]["state"] == "ALERT_STATE_FIRING"


def test_acknowledging_needs_a_reason_and_an_alert() -> None:
    assert run("alerts", "ack", "region-down/us").exit_code == 2
    with Run("alerts", "ack", "region-down/us", "--reason", "on it") as command:
        said = pb.AcknowledgeAlertResponse(alert=alert("region-down/us", acknowledged_by="ann"))
        request = command.answer("StatusService/AcknowledgeAlert", said)
    assert (request.id, request.reason) == ("region-down/us", "on it") and "@" in request.owner
    assert command.result().output == "ann looks after region-down/us.\n"
    with Run("alerts", "ack", "x", "--reason", "on it") as command:
        command.fail(
            "StatusService/AcknowledgeAlert",
            grpc.StatusCode.NOT_FOUND,
            "no alert x",
            [info("ALERT_NOT_FOUND")],
        )
    assert command.result().exit_code == 1 and "next: primacy alerts" in command.result().output


def test_sinks_are_tried_out() -> None:
    with Run("alerts", "test") as command:
        sinks = [
            monitoring_pb2.AlertSink(name="log", sent=1),
            monitoring_pb2.AlertSink(name="pager", trouble="refused"),
        ]
        command.answer("StatusService/TestAlertSinks", pb.TestAlertSinksResponse(sinks=sinks))
    assert command.result().exit_code == 1 and "pager: refused" in command.result().output
    with Run("alerts", "test", "--sink", "log") as command:
        request = command.answer("StatusService/TestAlertSinks", pb.TestAlertSinksResponse(sinks=sinks[:1]))
    assert request.sink == "log" and command.result().exit_code == 0


LATER = {"perf", "metrics"}
"""Commands that advice names and that may not be there yet."""


def test_advice_names_commands_and_options_that_exist() -> None:
    context = click.Context(cli)
    for rule in BUILT_IN:
        commands = re.findall(r"`primacy ([^`]+)`", rule.advice)
        for text in commands:
            words = text.split()
            if words[0] in LATER - set(COMMANDS):
                continue
            found = cli.get_command(context, words[0])
            assert found is not None, (rule.name, text)
            if isinstance(found, click.Group) and len(words) > 1 and words[1] in found.list_commands(context):
                found = found.get_command(context, words[1])
                assert found is not None
            options = {option for parameter in found.params for option in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= options, (rule.name, text)
