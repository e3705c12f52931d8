"""What a local cluster consists of, before anything of it runs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from primacy_agent.config import load_config
from primacy_cli.demo.model import ModelFile, make_model
from primacy_cli.demo.notes import Notes
from primacy_cli.demo.service import Service
from primacy_cli.local.places import AGENTS_MAX, REGIONS_MAX, places
from primacy_cli.local.plan import DEMO_POLICY, SERIES, ProcessPlan, make_plan
from primacy_cli.local.ports import HOST, Ports
from primacy_wire.policy_file import policy_from_text


@pytest.mark.parametrize(("regions", "agents"), [(1, 1), (3, 1), (2, 3), (REGIONS_MAX, 1), (2, AGENTS_MAX)])
def test_no_two_processes_share_a_port_a_folder_or_a_log(tmp_path: Path, regions: int, agents: int) -> None:
    plan = make_plan(tmp_path, places(regions), agents, DEMO_POLICY, Ports())
    processes = plan.processes
    assert len(processes) == 1 + 2 * regions * agents
    ports = [port for process in processes for port in process.ports]
    for facts in (
        ports,
        [process.state_dir for process in processes],
        [process.log for process in processes],
        [process.title for process in processes],
        [process.command for process in processes],
    ):
        assert len(set(facts)) == len(facts)
    assert not {int(region.endpoint.rpartition(":")[2]) for region in plan.regions if agents > 1} & set(ports)


def test_agents_settings_are_what_agents_take(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, places(2), 2, DEMO_POLICY, Ports())
    for region in plan.regions:
        for agent, service in zip(region.agents, region.services, strict=True):
            config = load_config(settings_of(agent), {}, {})
            assert config.region == region.place.name
            assert config.coordinators == [plan.coordinator.grpc]
            assert (config.grpc.address, config.http.address) == (agent.grpc, agent.http)
            assert config.endpoint == region.endpoint
            data_plane = config.dataplane
            assert (data_plane.xds.address, data_plane.haproxy.address) == (agent.xds, agent.haproxy)
            assert data_plane.file.path == agent.weights and agent.weights.parent == agent.state_dir.parent
            assert [probe.target for probe in config.probes] == [
                str(service.state_dir / "pid"),
                f"http://{service.http}/healthz",
                f"http://{service.http}/metrics",
            ]
            assert all(probe.interval.seconds == 0.25 for probe in config.probes)
            assert [probe.timeout.seconds for probe in config.probes] == [0.2, 0.2, 0.5]
            assert [probe.is_advisory for probe in config.probes] == [False, False, True]


async def test_agents_read_what_the_service_shows(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_bytes(make_model())
    service = Service("eu", ModelFile(tmp_path / "model.json"), 80, Notes(tmp_path))
    page = await service.answer(b"GET", "/metrics", b"", {})
    shown = {line.split()[0] for line in page.body.decode().splitlines() if not line.startswith("#")}
    assert set(SERIES.values()) == shown


def settings_of(agent: ProcessPlan) -> str:
    return agent.command[agent.command.index("--config") + 1]


def test_commands_are_absolute(tmp_path: Path) -> None:
    for process in make_plan(tmp_path, places(3), 1, DEMO_POLICY, Ports()).processes:
        assert os.path.isabs(process.command[0])
        assert [word for word in process.command if str(tmp_path) in word]


def test_the_policy_is_one() -> None:
    policy = policy_from_text(DEMO_POLICY)
    assert policy.lease_ttl.ToMilliseconds() == 3_000
    assert policy.report_interval.ToMilliseconds() == 250


def test_regions_have_names_and_priorities_of_their_own() -> None:
    every = places(REGIONS_MAX)
    assert len({place.name for place in every}) == REGIONS_MAX
    assert [place.priority for place in every] == sorted({place.priority for place in every}, reverse=True)


def test_a_port_in_use_is_passed_over() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = Ports()
        first, second = ports.take(port), ports.take(port)
        assert len({first, second, f"{HOST}:{port}"}) == 3
