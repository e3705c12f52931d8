"""Time from a fault to new weights at every agent, and to the new active lease, on real processes.

`primacy up` starts them; each fault is put on a fresh group. Agents are asked every few milliseconds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from primacy.agent.v1 import local_service_pb2 as local_pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import election_service_pb2
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy_wire.channel import make_sync_channel

from bench.rows import Row
from bench.servers import cpu_s, rss_mb

POLICY = """
leaseTtl: 3s
reportInterval: 0.25s
grace: {grace}s
firstWait: 0.5s
stableFor: 3s
switchoverTimeout: 10s
readStrategy: ACTIVE_ONLY
"""
TTL_MS = 3000.0
ASK_S = 0.004
LIMIT_S = 15.0


class Group:
    """A running `primacy up`."""

    def __init__(self, cluster: dict[str, Any], stack: ExitStack) -> None:
        self.cluster = cluster
        address = cluster["coordinators"][0]["grpc"]
        self.elections = ElectionServiceStub(stack.enter_context(make_sync_channel(address)))
        self.agents = {
            region["name"]: LocalServiceStub(stack.enter_context(make_sync_channel(region["agents"][0]["grpc"])))
            for region in cluster["regions"]
        }

    def pid(self, region: str, kind: str) -> int:
        (entry,) = [r for r in self.cluster["regions"] if r["name"] == region]
        return int(entry[kind][0]["pid"])

    def active(self) -> str:
        answer = self.elections.GetActiveRegion(election_service_pb2.GetActiveRegionRequest(), timeout=5)
        return str(answer.region)


@contextmanager
def group(grace_s: float) -> Iterator[Group]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        policy = Path(folder, "policy.yaml")
        policy.write_text(POLICY.format(grace=grace_s))
        command = [sys.executable, "-m", "primacy_cli.main", "up", "--regions", "3", "--dir", f"{folder}/group"]
        child = subprocess.Popen([*command, "--policy", str(policy)], stdout=subprocess.DEVNULL)
        try:
            path = Path(folder, "group", "cluster.json")
            deadline = time.monotonic() + 30
            while not path.exists():
                if time.monotonic() > deadline:
                    raise RuntimeError("`primacy up` was not ready in 30 s")
                time.sleep(0.05)
            time.sleep(1.0)
            yield Group(json.loads(path.read_text()), stack)
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(20)


def _until_all(agents: dict[str, LocalServiceStub], holds: Callable[[LocalServiceStub], bool]) -> float:
    """When the last agent first said so (monotonic seconds)."""
    times: dict[str, float] = {}

    def ask(name: str, stub: LocalServiceStub) -> None:
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            try:
                if holds(stub):
                    times[name] = time.monotonic()
                    return
            except grpc.RpcError:
                pass  # Asked again until the limit.
            time.sleep(ASK_S)

    threads = [threading.Thread(target=ask, args=item) for item in agents.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) < len(agents):
        raise RuntimeError(f"only {sorted(times)} saw it within {LIMIT_S} s")
    return max(times.values())


def _measure(fault: Callable[[Group, str], None], grace_s: float, skip_victim: bool) -> tuple[float, float]:
    """(ms to the weights at every agent asked, ms to a new lease)."""
    with group(grace_s) as running:
        victim = running.active()
        others = {name: stub for name, stub in running.agents.items() if name != victim}
        asked = others if skip_victim else running.agents
        found: dict[str, float] = {}

        def no_reads(stub: LocalServiceStub) -> bool:
            return stub.GetWeights(local_pb.GetWeightsRequest(), timeout=1).row.weights[victim] == 0

        def anybody(_: LocalServiceStub) -> bool:
            return any(s.GetActive(local_pb.GetActiveRequest(), timeout=1).active for s in others.values())

        watch = threading.Thread(target=lambda: found.update(lease=_until_all({"all": next(iter(others.values()))},
                                                                              anybody)))  # fmt: skip
        began = time.monotonic()
        fault(running, victim)
        watch.start()
        weights = _until_all(asked, no_reads)
        watch.join()
        return (weights - began) * 1000, (found["lease"] - began) * 1000


def _kill_service(running: Group, victim: str) -> None:
    os.kill(running.pid(victim, "services"), signal.SIGKILL)


def _kill_agent(running: Group, victim: str) -> None:
    os.kill(running.pid(victim, "agents"), signal.SIGKILL)


def _freeze_all(running: Group, victim: str) -> None:
    os.kill(running.pid(victim, "agents"), signal.SIGSTOP)
    os.kill(running.pid(victim, "services"), signal.SIGSTOP)


def _switch_over(running: Group, _: str) -> None:
    running.elections.Failover(election_service_pb2.FailoverRequest(reason="benchmark"), timeout=5)


CASES: tuple[tuple[str, Callable[[Group, str], None], float, bool, float | None, float | None], ...] = (
    ("service crash, agent alive, grace 0", _kill_service, 0.0, False, 50.0, 100.0),
    ("agent crash", _kill_agent, 0.0, True, None, TTL_MS + 500),
    ("silent partition (agent and service frozen)", _freeze_all, 0.5, True, None, TTL_MS + 500),
    ("planned switchover", _switch_over, 0.5, False, None, 150.0),
)


def run(rounds: int = 3) -> list[Row]:
    rows = []
    for name, fault, grace_s, skip_victim, weights_ms, lease_ms in CASES:
        found = [_measure(fault, grace_s, skip_victim) for _ in range(rounds)]
        rows.append(
            Row(f"failover: {name}, to weights", statistics.median(f[0] for f in found), "ms", budget=weights_ms)
        )
        rows.append(Row(f"failover: {name}, to lease", statistics.median(f[1] for f in found), "ms", budget=lease_ms))
    return [*rows, *_agent()]


def _agent() -> list[Row]:
    """Memory and idle CPU of an agent that watches a service with two probes."""
    with group(0.5) as running:
        pid = running.pid(running.active(), "agents")
        before, began = cpu_s(pid), time.monotonic()
        time.sleep(8.0)
        share = (cpu_s(pid) - before) / (time.monotonic() - began) * 100
        return [
            Row("agent: memory", rss_mb(pid), "MB", budget=60.0),
            Row("agent: CPU when idle, 4 reports a second", share, "% of a core"),
        ]
