"""Which processes a local cluster has, with the files that they start from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from primacy_cli.local.places import Place
from primacy_cli.local.ports import Ports

DEMO_POLICY = """\
# Quick, so that a failover can be watched: the defaults wait longer before they believe anything.
readStrategy: GEOGRAPHIC
leaseTtl: 3s
reportInterval: 0.25s
grace: 0.5s
firstWait: 0.5s
stableFor: 3s
switchoverTimeout: 10s
"""
PROBE = {"interval": "0.25s", "timeout": "0.2s", "rise": 2, "fall": 2}
COORDINATOR_GRPC, COORDINATOR_HTTP = 7400, 7480
AGENT_GRPC, AGENT_HTTP, SERVICE_HTTP = 7410, 7490, 7500
"""The first region's; each further region has the next."""


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    title: str
    """For people: `us-east agent`."""
    command: tuple[str, ...]
    """Absolute, and always the same: run again, it starts the process again with its state."""
    log: Path
    state_dir: Path
    http: str
    grpc: str = ""

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(int(address.rpartition(":")[2]) for address in (self.grpc, self.http) if address)


@dataclass(frozen=True, slots=True)
class RegionPlan:
    place: Place
    agent: ProcessPlan
    service: ProcessPlan


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    coordinator: ProcessPlan
    regions: tuple[RegionPlan, ...]

    @property
    def processes(self) -> tuple[ProcessPlan, ...]:
        return (self.coordinator, *(process for each in self.regions for process in (each.service, each.agent)))


def make_plan(folder: Path, where: tuple[Place, ...], policy_text: str, ports: Ports) -> ClusterPlan:
    """Choose the ports and write every settings file under `folder` (absolute). Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy.yaml"
    policy.write_text(policy_text, encoding="utf-8")
    coordinator = _coordinator(folder, policy, ports)
    regions = tuple(_region(folder, place, index, coordinator.grpc, ports) for index, place in enumerate(where))
    return ClusterPlan(coordinator, regions)


def _coordinator(folder: Path, policy: Path, ports: Ports) -> ProcessPlan:
    grpc, http = ports.take(COORDINATOR_GRPC), ports.take(COORDINATOR_HTTP)
    settings = folder / "coordinator.yaml"
    state = folder / "coordinator"
    _write(
        settings,
        {"dataDir": str(state), "policy": str(policy), "grpc": {"address": grpc}, "http": {"address": http}},
    )
    command = _python("primacy_coordinator.main", "--config", str(settings))
    return ProcessPlan("coordinator", command, folder / "coordinator.log", state, http, grpc)


def _region(folder: Path, place: Place, index: int, coordinator: str, ports: Ports) -> RegionPlan:
    home = folder / place.name
    home.mkdir(exist_ok=True)
    service = _service(home, place, ports.take(SERVICE_HTTP + index))
    return RegionPlan(place, _agent(home, place, index, coordinator, service, ports), service)


def _service(home: Path, place: Place, address: str) -> ProcessPlan:
    state = home / "service"
    command = _python(
        "primacy_cli.demo.service",
        *("--region", place.name, "--address", address, "--state-dir", str(state)),
        *("--model", str(home / "model.json"), "--capacity", f"{place.capacity:g}"),
    )
    return ProcessPlan(f"{place.name} service", command, home / "service.log", state, address)


def _agent(home: Path, place: Place, index: int, coordinator: str, service: ProcessPlan, ports: Ports) -> ProcessPlan:
    grpc, http = ports.take(AGENT_GRPC + index), ports.take(AGENT_HTTP + index)
    settings = home / "agent.yaml"
    state = home / "agent"
    _write(
        settings,
        {
            "region": place.name,
            "coordinators": [coordinator],
            "grpc": {"address": grpc},
            "http": {"address": http},
            "stateDir": str(state),
            "latitude": place.latitude,
            "longitude": place.longitude,
            "priority": place.priority,
            "capacity": place.capacity,
            "endpoint": service.http,
            "labels": {"cluster": "local"},
            "probes": [
                {"name": "process", "kind": "process", "pidFile": str(service.state_dir / "pid"), **PROBE},
                {"name": "healthz", "kind": "http", "url": f"http://{service.http}/healthz", **PROBE},
            ],
            "peerInterval": PROBE["interval"],
            "peerTimeout": PROBE["timeout"],
            "metricsUrl": f"http://{service.http}/metrics",
        },
    )
    command = _python("primacy_agent.main", "--config", str(settings))
    return ProcessPlan(f"{place.name} agent", command, home / "agent.log", state, http, grpc)


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    # -P: what happens to lie in the current folder is not imported.
    return (sys.executable, "-P", "-m", module, *arguments)


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
