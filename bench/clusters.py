"""A running `primacy up` whose processes are killed, frozen, and started again by their commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
from primacy.agent.v1 import local_service_pb2 as local_pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import election_service_pb2, region_pb2, region_service_pb2
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_wire.channel import make_sync_channel
from primacy_wire.daemon import PARENT_VARIABLE

TTL_MS = 3000.0
PROBE_MS = 250.0
"""Interval of the probes that `primacy up` sets; fall is 2."""
POLICY = """\
leaseTtl: 3s
reportInterval: 0.25s
grace: 0s
holdDown: 0s
coolDown: 0s
flapLimit: 1000
slowStart: 0s
weightSlew: 1
doubtMax: 0s
firstWait: 0.5s
stableFor: 0.5s
switchoverTimeout: 10s
readStrategy: ACTIVE_ONLY
"""
READY_S = 30.0


class Cluster:
    def __init__(self, entries: dict[str, Any], stack: ExitStack, reads: Mapping[str, float] | None = None) -> None:
        """`reads`: the row of every region when all is well; None: everything to the active one."""
        self._reads = reads
        self.coordinator = str(entries["coordinators"][0]["grpc"])
        self._regions = {region["name"]: region for region in entries["regions"]}
        self.names = sorted(self._regions)
        channel = stack.enter_context(make_sync_channel(self.coordinator))
        self._elections = ElectionServiceStub(channel)
        self._region_stub = RegionServiceStub(channel)
        self._stack = stack
        self._restarted: dict[int, subprocess.Popen[bytes]] = {}

    def pid(self, region: str, kind: str) -> int:
        """`kind`: `agents` or `services`."""
        return int(self._regions[region][kind][0]["pid"])

    def agent_address(self, region: str) -> str:
        return str(self._regions[region]["agents"][0]["grpc"])

    def xds_address(self, region: str) -> str:
        return str(self._regions[region]["agents"][0]["xds"])

    def haproxy_address(self, region: str) -> str:
        return str(self._regions[region]["agents"][0]["haproxy"])

    def service_address(self, region: str) -> str:
        return str(self._regions[region]["services"][0]["http"])

    def model(self, region: str) -> Path:
        """The file without which the region's service says that it is not healthy."""
        command = self._regions[region]["services"][0]["command"]
        return Path(command[command.index("--model") + 1])

    def active(self) -> str:
        answer = self._elections.GetActiveRegion(election_service_pb2.GetActiveRegionRequest(), timeout=5)
        return answer.region

    def kill(self, region: str, kind: str) -> None:
        os.kill(self.pid(region, kind), signal.SIGKILL)

    def start_again(self, region: str, kind: str, *arguments: str) -> None:
        """Run its command again, with these arguments, too: from the main thread, for the kernel ties the child's life
        to the thread that forks."""
        entry = self._regions[region][kind][0]
        before = self._restarted.pop(entry["pid"], None)
        if before is not None:
            before.wait(10)
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        with Path(entry["log"]).open("ab") as log:
            child = subprocess.Popen([*entry["command"], *arguments], stdout=log, stderr=log, env=environment)
        self._stack.callback(_end, child)
        self._restarted[child.pid] = child
        entry["pid"] = child.pid

    def wait_well(self) -> None:
        """Until every region is healthy, one is active by its own word, and another may take over at once."""
        deadline = time.monotonic() + READY_S
        trouble: object = ""
        while time.monotonic() < deadline:
            try:
                trouble = self._trouble()
            except grpc.RpcError as error:
                trouble = error
            if not trouble:
                return
            time.sleep(0.05)
        raise RuntimeError(f"the group was not well within {READY_S:g} s: {trouble}")

    def _trouble(self) -> str:
        regions = self._region_stub.ListRegions(region_service_pb2.ListRegionsRequest(), timeout=2).regions
        ill = [region.name for region in regions if region.status != region_pb2.REGION_STATUS_HEALTHY]
        if ill:
            return f"not healthy: {', '.join(ill)}"
        active = self.active()
        for name in self.names:
            with make_sync_channel(self.agent_address(name)) as channel:
                stub = LocalServiceStub(channel)
                if stub.GetActive(local_pb.GetActiveRequest(), timeout=2).active != (name == active):
                    return f"{name} does not agree that {active!r} is active"
                row = stub.GetWeights(local_pb.GetWeightsRequest(), timeout=2).row
                if dict(row.weights) != {**dict.fromkeys(self.names, 0.0), **(self._reads or {active: 1.0})}:
                    return f"{name} has other weights"
        # Refused, and so raised, while no other region is eligible.
        self._elections.Failover(election_service_pb2.FailoverRequest(validate_only=True), timeout=2)
        return ""


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait(10)


@contextmanager
def cluster(regions: int = 3, policy_text: str = POLICY, reads: Mapping[str, float] | None = None) -> Iterator[Cluster]:
    """`primacy up` with a quick policy, ready; `reads` as for `Cluster`."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        policy = Path(folder, "policy.yaml")
        policy.write_text(policy_text)
        home = Path(folder, "group")
        command = [sys.executable, "-m", "primacy_cli.main", "up", "--regions", str(regions)]
        up = subprocess.Popen(
            [*command, "--dir", str(home), "--policy", str(policy), "--free-ports"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            deadline = time.monotonic() + READY_S
            while not (home / "cluster.json").exists():
                if time.monotonic() > deadline or up.poll() is not None:
                    raise RuntimeError(f"`primacy up` was not ready within {READY_S:g} s, or ended")
                time.sleep(0.05)
            running = Cluster(json.loads((home / "cluster.json").read_text()), stack, reads)
            running.wait_well()
            yield running
        finally:
            stack.close()
            up.send_signal(signal.SIGTERM)
            up.wait(20)
