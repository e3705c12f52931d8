"""Which processes a local cluster has, with the files that they start from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from primacy_wire.daemon import PID_FILE

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
holdDown: 2s
coolDown: 2s
flapHalfLife: 30s
failbackAfter: 5s
drainTime: 3s
slowStart: 5s
slos:
- {name: reads, indicator: SUCCESS, objective: 0.995, window: 1d, perRegion: true}
- {name: active, indicator: AVAILABILITY, objective: 0.99, window: 1d}
conflictPolicies:
  demo/prices: MANUAL
"""
DEMO_MODEL = "demo"
"""`primacy model push demo FILE` gives the demo services another model to serve."""
PROBE = {"interval": "0.25s", "timeout": "0.2s", "rise": 2, "fall": 2}
SERIES = {
    "requests": "demo_requests_total",
    "errors": "demo_request_errors_total",
    "seconds_sum": "demo_request_seconds_sum",
    "seconds_count": "demo_request_seconds_count",
    "utilisation": "demo_utilisation",
    "capacity": "demo_capacity",
    "in_flight": "demo_in_flight",
}
"""What agents read on the demo service's metrics page."""
COORDINATOR_GRPC, COORDINATOR_HTTP = 7400, 7480
AGENT_GRPC, AGENT_HTTP, SERVICE_HTTP, REGION_HTTP = 7410, 7490, 7600, 7700
AGENT_XDS, AGENT_HAPROXY = 7440, 7460
"""The first one's; each further one has the next."""


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
    xds: str = ""
    haproxy: str = ""

    @property
    def ports(self) -> tuple[int, ...]:
        addresses = (self.grpc, self.http, self.xds, self.haproxy)
        return tuple(int(address.rpartition(":")[2]) for address in addresses if address)

    @property
    def weights(self) -> Path:
        """An agent's weights file: beside its state folder, where it keeps files of its own."""
        return self.state_dir.with_name(f"{self.state_dir.name}-weights.json")


@dataclass(frozen=True, slots=True)
class RegionPlan:
    place: Place
    endpoint: str
    agents: tuple[ProcessPlan, ...]
    """Each watches the service at its place."""
    services: tuple[ProcessPlan, ...]


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    coordinator: ProcessPlan
    regions: tuple[RegionPlan, ...]
    traffic: ProcessPlan | None = None
    """Clients of all regions. None: nobody sends anything."""

    @property
    def processes(self) -> tuple[ProcessPlan, ...]:
        made = (self.coordinator, *(process for each in self.regions for process in (*each.services, *each.agents)))
        return (*made, self.traffic) if self.traffic is not None else made


def make_plan(
    folder: Path, where: tuple[Place, ...], agents_per_region: int, policy_text: str, ports: Ports, rate: float = 0.0
) -> ClusterPlan:
    """Choose the ports and write every settings file under `folder` (absolute). Raises OSError.

    `rate`: requests per second that clients of each region send; 0: there are none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    policy = folder / "policy.yaml"
    policy.write_text(policy_text, encoding="utf-8")
    coordinator = _coordinator(folder, policy, ports)
    regions = tuple(
        _region(folder, place, index, agents_per_region, coordinator.grpc, ports) for index, place in enumerate(where)
    )
    return ClusterPlan(coordinator, regions, _traffic(folder, regions, rate) if rate > 0 else None)


def _traffic(folder: Path, regions: tuple[RegionPlan, ...], rate: float) -> ProcessPlan:
    state = folder / "traffic"
    words = [f"{each.place.name}={each.agents[0].grpc}@{each.place.longitude:g}" for each in regions]
    command = _python(
        "primacy_cli.demo.traffic",
        *("--state-dir", str(state), "--rate", f"{rate:g}"),
        *(word for region in words for word in ("--region", region)),
    )
    return ProcessPlan("traffic", command, folder / "traffic.log", state, "")


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


def _region(folder: Path, place: Place, index: int, count: int, coordinator: str, ports: Ports) -> RegionPlan:
    home = folder / place.name
    home.mkdir(exist_ok=True)
    numbers = range(index * count, (index + 1) * count)
    addresses = [ports.take(SERVICE_HTTP + number) for number in numbers]
    # Several instances share one more port, as behind a gateway: the region is reached while one of them lives.
    endpoint = addresses[0] if count == 1 else ports.take(REGION_HTTP + index)
    agents, services = [], []
    for order, address in enumerate(addresses):
        service = _service(home, place, order, count, address, endpoint)
        services.append(service)
        grpc, http = ports.take(AGENT_GRPC + numbers[order]), ports.take(AGENT_HTTP + numbers[order])
        agent = ProcessPlan(
            _title(place, "agent", order, count),
            _python("primacy_agent.main", "--config", str(home / f"agent{_suffix(order)}.yaml")),
            home / f"agent{_suffix(order)}.log",
            home / f"agent{_suffix(order)}",
            http,
            grpc,
            ports.take(AGENT_XDS + numbers[order]),
            ports.take(AGENT_HAPROXY + numbers[order]),
        )
        _write(home / f"agent{_suffix(order)}.yaml", _agent(place, order, coordinator, endpoint, agent, service))
        agents.append(agent)
    return RegionPlan(place, endpoint, tuple(agents), tuple(services))


def _service(home: Path, place: Place, order: int, count: int, address: str, endpoint: str) -> ProcessPlan:
    state = home / f"service{_suffix(order)}"
    command = _python(
        "primacy_cli.demo.service",
        *("--region", place.name, "--address", address, "--state-dir", str(state)),
        *("--model", str(home / "model.json"), "--capacity", f"{place.capacity / count:g}"),
        *("--current", str(home / f"agent{_suffix(order)}" / "models" / DEMO_MODEL / "current")),
        *(("--shared", endpoint) if count > 1 else ()),
    )
    return ProcessPlan(
        _title(place, "service", order, count), command, home / f"service{_suffix(order)}.log", state, address
    )


def _agent(
    place: Place, order: int, coordinator: str, endpoint: str, agent: ProcessPlan, service: ProcessPlan
) -> dict[str, Any]:
    """The agent's settings."""
    return {
        "region": place.name,
        "name": f"agent-{order + 1}",
        "coordinators": [coordinator],
        "grpc": {"address": agent.grpc},
        "http": {"address": agent.http},
        "stateDir": str(agent.state_dir),
        "latitude": place.latitude,
        "longitude": place.longitude,
        "priority": place.priority,
        "capacity": place.capacity,
        "endpoint": endpoint,
        "labels": {"cluster": "local"},
        "probes": [
            {"name": "process", "kind": "process", "pidFile": str(service.state_dir / PID_FILE), **PROBE},
            {"name": "healthz", "kind": "http", "url": f"http://{service.http}/healthz", **PROBE},
            {
                "name": "metrics",
                "kind": "prometheus",
                "url": f"http://{service.http}/metrics",
                "series": dict(SERIES),
                **PROBE,
                "timeout": "0.5s",
            },
        ],
        "dataplane": {
            "xds": {"address": agent.xds},
            "haproxy": {"address": agent.haproxy},
            "file": {"path": str(agent.weights)},
        },
        "peerInterval": PROBE["interval"],
        "peerTimeout": PROBE["timeout"],
    }


def _suffix(order: int) -> str:
    return f"-{order + 1}" if order else ""


def _title(place: Place, what: str, order: int, count: int) -> str:
    return f"{place.name} {what}" + (f" {order + 1}" if count > 1 else "")


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    # -P: what happens to lie in the current folder is not imported.
    return (sys.executable, "-P", "-m", module, *arguments)


def _write(path: Path, settings: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False), encoding="utf-8")
