"""Time from a fault to new weights at every agent, and to the new active lease, on real processes.

`primacy up` starts them with probes and reports every 250 ms, fall 2, grace 0, and a TTL of 3 s. The new lease is seen
on `WatchActive` streams of the other agents; weights are asked for every few milliseconds. After each fault the group
is made whole again, and the next one meets whichever region is active then.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
from primacy.agent.v1 import local_service_pb2 as local_pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import election_service_pb2
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy_wire.channel import make_channel

from bench.clusters import PROBE_MS, TTL_MS, Cluster, cluster
from bench.rows import Row

ASK_S = 0.005
LIMIT_S = 20.0

Step = Callable[[Cluster, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of fault, what puts it right again, and budgets in ms."""

    name: str
    fault: Step
    repair: Step
    rounds: int
    weights_ms: float | None
    lease_ms: float | None
    agent_lost: bool = False
    """The victim's own agent cannot be asked."""


async def _kill_service(running: Cluster, victim: str) -> None:
    running.kill(victim, "services")


async def _start_service(running: Cluster, victim: str) -> None:
    running.start_again(victim, "services")


async def _break_model(running: Cluster, victim: str) -> None:
    """The service lives on, but its `/healthz` fails from now on."""
    model = running.model(victim)
    model.rename(model.with_suffix(".away"))


async def _mend_model(running: Cluster, victim: str) -> None:
    model = running.model(victim)
    model.with_suffix(".away").rename(model)


async def _kill_agent(running: Cluster, victim: str) -> None:
    running.kill(victim, "agents")


async def _start_agent(running: Cluster, victim: str) -> None:
    running.start_again(victim, "agents")


async def _freeze(running: Cluster, victim: str) -> None:
    for kind in ("agents", "services"):
        os.kill(running.pid(victim, kind), signal.SIGSTOP)


async def _thaw(running: Cluster, victim: str) -> None:
    for kind in ("agents", "services"):
        os.kill(running.pid(victim, kind), signal.SIGCONT)


async def _switch_over(running: Cluster, _: str) -> None:
    async with make_channel(running.coordinator) as channel:
        request = election_service_pb2.FailoverRequest(reason="benchmark")
        await ElectionServiceStub(channel).Failover(request, timeout=5)


async def _nothing(running: Cluster, victim: str) -> None:
    """There is nothing to put right."""


HTTP_BUDGET_MS = 2 * PROBE_MS + 100
CASES = (
    Case("service process dies", _kill_service, _start_service, 7, 50.0, 100.0),
    Case("service only starts failing", _break_model, _mend_model, 7, HTTP_BUDGET_MS, None),
    Case("planned switchover", _switch_over, _nothing, 7, None, 150.0),
    Case("agent dies", _kill_agent, _start_agent, 3, None, None, agent_lost=True),
    Case("silent partition", _freeze, _thaw, 3, None, TTL_MS + 500, agent_lost=True),
)


async def _new_lease(stub: Any, watching: asyncio.Event) -> float:
    """When this agent says that it is active."""
    stream = stub.WatchActive(local_pb.WatchActiveRequest())
    async for view in stream:
        watching.set()
        if view.active:
            return time.monotonic()
    raise RuntimeError("an agent ended its stream")


async def _new_weights(stub: Any, victim: str) -> float:
    """When this agent sends no read to the victim any more."""
    while True:
        try:
            answer = await stub.GetWeights(local_pb.GetWeightsRequest(), timeout=1)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        else:
            if answer.row.weights.get(victim, 0.0) == 0.0 and sum(answer.row.weights.values()) > 0.0:
                return time.monotonic()
        await asyncio.sleep(ASK_S)


async def _first(waiting: list[Coroutine[Any, Any, float]]) -> float:
    tasks = [asyncio.create_task(each) for each in waiting]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return min(task.result() for task in done)


async def measure(running: Cluster, victim: str, case: Case) -> tuple[float, float]:
    """(ms to the last agent's new weights, ms to the new active lease)."""
    others = [name for name in running.names if name != victim]
    channels = {name: make_channel(running.agent_address(name)) for name in running.names}
    stubs: dict[str, Any] = {name: LocalServiceStub(channel) for name, channel in channels.items()}
    try:
        async with asyncio.timeout(LIMIT_S):
            events = {name: asyncio.Event() for name in others}
            lease = asyncio.create_task(_first([_new_lease(stubs[name], events[name]) for name in others]))
            for event in events.values():
                await event.wait()
            asked = others if case.agent_lost else running.names
            for name in asked:
                await stubs[name].GetWeights(local_pb.GetWeightsRequest())  # Connects.
            await asyncio.sleep(random.random() * PROBE_MS / 1000)  # Anywhere between two probes.
            began = time.monotonic()
            await case.fault(running, victim)
            weights = await asyncio.gather(*(_new_weights(stubs[name], victim) for name in asked))
            return (max(weights) - began) * 1000, (await lease - began) * 1000
    finally:
        for channel in channels.values():
            await channel.close()


def try_case(running: Cluster, case: Case) -> tuple[float, float]:
    """One round: the fault, its figures, the repair. The group is whole before and after."""
    victim = running.active()

    async def round_trip() -> tuple[float, float]:
        try:
            return await measure(running, victim, case)
        finally:
            await case.repair(running, victim)

    found = asyncio.run(round_trip())
    running.wait_well()
    return found


def run() -> list[Row]:
    rows = []
    with cluster() as running:
        for case in CASES:
            found = [try_case(running, case) for _ in range(case.rounds)]
            for what, index, budget in (("weights", 0, case.weights_ms), ("lease", 1, case.lease_ms)):
                times = [each[index] for each in found]
                name = f"failover: {case.name}, to {what}"
                rows.append(Row(f"{name}, median", statistics.median(times), "ms", budget=budget))
                rows.append(Row(f"{name}, max of {case.rounds}", max(times), "ms"))
    return rows
