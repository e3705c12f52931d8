"""Alerts of a real coordinator: told once, also over a kill -9; the API, the journal and /metrics agree."""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml
from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, Life, Sight, Step, Timing, decide
from primacy_wire.channel import make_channel
from primacy_wire.messages import Notice, ServiceHealth, ServiceState

from tests.integration.coordinators import UP, CoordinatorProcess, HandAgent, until
from tests.unit.coordinator.sinks.receivers import Receiver, receiver

pytestmark = pytest.mark.integration

DOWN = ServiceHealth(ServiceState.DOWN, 0, 1, "connection refused")
POLICY = """\
leaseTtl: 2s
reportInterval: 0.25s
grace: 0.25s
firstWait: 0.25s
stableFor: 0s
alertRules:
- name: no-such
  threshold: {series: no_such_series, above: 1}
  for: 0s
- name: rule-broken
  for: 0s
- name: few-agents
  threshold: {series: agents, below: 2, window: 5s}
  severity: info
  annotations: {summary: "{region} of {group} has {value} agents, fewer than {threshold}"}
slos:
- {name: up, indicator: availability, objective: 0.99999, perRegion: true}
"""
FIRING, RESOLVED = monitoring_pb2.ALERT_STATE_FIRING, monitoring_pb2.ALERT_STATE_RESOLVED


class Place:
    """A coordinator whose webhook is a receiver of this test, and three regions played by hand."""

    def __init__(self, folder: Path, there: Receiver, *more: dict[str, Any]) -> None:
        settings = folder / "coordinator.yaml"
        secret = folder / "secret"
        secret.write_text("0123456789abcdef")
        hook = {"url": there.url, "secretFile": str(secret), "timeout": "1s", "name": "pager"}
        settings.write_text(yaml.safe_dump({"alerts": {"webhooks": [hook, *more]}}))
        (folder / "policy.yaml").write_text(POLICY)
        self.there = there
        self.coordinator = CoordinatorProcess(
            folder / "state", "--config", str(settings), "--policy", str(folder / "policy.yaml")
        )
        self.agents: dict[str, HandAgent] = {}

    async def join(self, stack: AsyncExitStack) -> None:
        for region in ("ap", "eu", "us"):
            agent = await stack.enter_async_context(HandAgent(self.coordinator.grpc, region))
            self.agents[region] = agent
            await agent.join()

    async def ask(self, method: str, request: Any) -> Any:
        async with make_channel(self.coordinator.grpc) as channel:
            return await getattr(StatusServiceStub(channel), method)(request, timeout=10)

    async def alerts(self, **request: Any) -> dict[str, monitoring_pb2.Alert]:
        try:
            response = await self.ask("ListAlerts", pb.ListAlertsRequest(**request))
        except grpc.aio.AioRpcError:
            return {}
        return {alert.id: alert for alert in response.alerts}

    async def fires(self, alert_id: str) -> monitoring_pb2.Alert:
        async def look() -> monitoring_pb2.Alert | None:
            alert = (await self.alerts()).get(alert_id)
            return alert if alert is not None and alert.state == FIRING else None

        return await until(look, 30)


@asynccontextmanager
async def place(folder: Path, *more: dict[str, Any]) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        made = Place(folder, await stack.enter_async_context(receiver()), *more)
        stack.callback(made.coordinator.close)
        made.coordinator.start()
        await made.join(stack)
        yield made


async def test_a_region_that_goes_down_is_told_once_over_a_crash_of_the_coordinator(tmp_path: Path) -> None:
    async with place(tmp_path) as here, AsyncExitStack() as stack:
        there = here.there
        await until(lambda: _active(here))
        standby = next(region for region, agent in here.agents.items() if not agent.epoch)
        alert_id = f"region-down/{standby}"
        here.agents[standby].health = DOWN
        await there.until(lambda: f"firing {alert_id}" in there.kinds())
        alert = await here.fires(alert_id)
        assert "connection refused" in alert.summary and alert.advice and not alert.cause_id
        assert alert.severity == 3 and alert.region == standby

        response = await here.ask("ListAlerts", pb.ListAlertsRequest())
        assert response.alerts[0].id == alert_id, "the worst first"
        assert [sink.name for sink in response.sinks] == ["pager", "log"]
        assert response.sinks[0].sent >= 1 and not response.sinks[0].trouble
        assert "no region has a series" in response.broken_rules["no-such"]
        await here.fires("rule-broken:no-such")
        assert (await here.fires("few-agents/ap")).summary == "ap of default has 1 agents, fewer than 2"
        burning = await here.fires(f"budget-burning-fast:up/{standby}")
        assert burning.cause_id == alert_id and burning.value > 14.4
        assert burning.id in (await here.fires(alert_id)).explains

        await _check_journal(here, alert_id)
        await _check_acknowledging(here, alert_id)
        assert 'primacy_alerts_firing{explained="false",group="default",rule="region-down"' in _metrics(here)
        assert 'primacy_alert_sink_sent_total{sink="pager"}' in _metrics(here)

        # A crash: nothing fires again, nothing is taken back.
        told = [kind for kind in there.kinds() if alert_id in kind]
        here.coordinator.kill()
        here.coordinator.start()
        for agent in here.agents.values():
            await agent.close()
        health = {region: agent.health for region, agent in here.agents.items()}
        await here.join(stack)
        for region, agent in here.agents.items():
            agent.health = health[region]
        again = await here.fires(alert_id)
        assert again.fire_time == alert.fire_time and again.acknowledged_by == "ann"
        await until(lambda: _active(here))
        assert [kind for kind in there.kinds() if alert_id in kind] == told

        here.agents[standby].health = UP
        await there.until(lambda: f"resolved {alert_id}" in there.kinds())
        assert [kind for kind in there.kinds() if alert_id in kind] == [*told, f"resolved {alert_id}"]
        over = (await here.alerts(include_resolved=True))[alert_id]
        assert over.state == RESOLVED and over.resolve_time.seconds >= over.fire_time.seconds
        assert alert_id not in await here.alerts()


async def test_sinks_are_tested_and_a_broken_one_is_told_of_by_the_others(tmp_path: Path) -> None:
    broken = {"url": "http://127.0.0.1:1/hook", "name": "broken"}
    async with place(tmp_path, broken) as here:
        here.there.status = 500
        response = await here.ask("TestAlertSinks", pb.TestAlertSinksRequest())
        said = {sink.name: sink.trouble for sink in response.sinks}
        assert said["log"] == "" and "refused" in said["broken"] and "500" in said["pager"]
        here.there.status = 200
        response = await here.ask("TestAlertSinks", pb.TestAlertSinksRequest(sink="pager"))
        assert [(sink.name, sink.trouble) for sink in response.sinks] == [("pager", "")]
        assert here.there.kinds() == ["test primacy-test"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await here.ask("TestAlertSinks", pb.TestAlertSinksRequest(sink="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND and "pager" in (caught.value.details() or "")


async def test_what_an_agent_told_stands_over_a_crash_until_that_agent_takes_it_back(tmp_path: Path) -> None:
    async with place(tmp_path) as here, AsyncExitStack() as stack:
        await until(lambda: _active(here))
        other = await stack.enter_async_context(HandAgent(here.coordinator.grpc, "eu", "two"))
        await other.join()
        failing = here.agents["eu"]
        await failing.send(Notice(failing.incarnation, "weights-hook-failed", "the hook exits 1", True))
        alert = await here.fires("dataplane-failing/eu")
        assert "the hook exits 1" in alert.summary
        # Another agent of the region is well: that says nothing of this one.
        await other.send(Notice(other.incarnation, "weights-hook-succeeded", "it succeeds again"))

        here.coordinator.kill()
        here.coordinator.start()
        for agent in (*here.agents.values(), other):
            await agent.close()
        again = await stack.enter_async_context(
            HandAgent(here.coordinator.grpc, "eu", incarnation=failing.incarnation, lineage=failing.lineage)
        )
        await again.join()
        for region in ("ap", "us"):
            await (await stack.enter_async_context(HandAgent(here.coordinator.grpc, region))).join()
        await (await stack.enter_async_context(HandAgent(here.coordinator.grpc, "eu", "two"))).join()
        # Longer than what is over needs to end.
        await until(lambda: _looked(here, 24), 90)
        assert (await here.fires("dataplane-failing/eu")).fire_time == alert.fire_time
        await again.send(Notice(again.incarnation, "weights-hook-succeeded", "it succeeds again"))

        async def over() -> bool:
            found = (await here.alerts(include_resolved=True)).get("dataplane-failing/eu")
            return found is not None and found.state == RESOLVED

        await until(over, 40)


async def _looked(here: Place, times: int) -> bool:
    """Whether so many looks were taken since the coordinator started."""
    try:
        text = await asyncio.to_thread(_metrics, here)
    except OSError:
        return False
    (line,) = (one for one in text.splitlines() if one.startswith("primacy_alert_evaluations_total "))
    return float(line.split()[1]) >= times


async def test_a_webhook_that_hangs_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        here.there.status = 0  # It hangs.
        here.agents["eu"].health = DOWN
        await here.fires("region-down/eu")
        await here.there.until(lambda: here.there.tries >= 1)
        here.coordinator.signal(signal.SIGTERM)
        assert here.coordinator.wait() == 0


async def _active(here: Place) -> bool:
    return any(agent.epoch for agent in here.agents.values())


async def _check_journal(here: Place, alert_id: str) -> None:
    """I9: the inputs that the journal keeps give the same decision again."""
    response = await here.ask("ListEvents", pb.ListEventsRequest(kinds=["alert-firing"]))
    (event,) = (event for event in response.events if event.message.startswith(alert_id))
    inputs = json.loads(event.inputs)
    assert decide(_step(inputs["step"])) == _life(inputs["after"])
    assert inputs["finding"]["rule"] == "region-down" and event.severity == 3


def _step(kept: dict[str, Any]) -> Step:
    return Step(_life(kept["before"]), Sight[kept["sight"]], Timing(**kept["timing"]), kept["elapsed_ns"])


def _life(kept: dict[str, Any] | None) -> Life | None:
    return None if kept is None else Life(**{**kept, "state": AlertState[kept["state"]]})


async def _check_acknowledging(here: Place, alert_id: str) -> None:
    for request, code in (
        (pb.AcknowledgeAlertRequest(id=alert_id), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.AcknowledgeAlertRequest(id="region-down/nowhere", reason="x"), grpc.StatusCode.NOT_FOUND),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await here.ask("AcknowledgeAlert", request)
        assert caught.value.code() is code
    request = pb.AcknowledgeAlertRequest(id=alert_id, reason="on it", owner="ann")
    response = await here.ask("AcknowledgeAlert", request)
    assert (response.alert.acknowledged_by, response.alert.acknowledge_reason) == ("ann", "on it")

    async def journaled() -> bool:
        events = await here.ask("ListEvents", pb.ListEventsRequest(kinds=["alert-acknowledged"]))
        return any("ann looks after" in event.message for event in events.events)

    await until(journaled)


def _metrics(here: Place) -> str:
    with urllib.request.urlopen(f"http://{here.coordinator.http}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text
