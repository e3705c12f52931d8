"""A real agent with a probe of every kind: what it shows, what it reports, and that it stays small."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from primacy.agent.v1.local_service_pb2 import GetStatusRequest, GetStatusResponse
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1 import agent_pb2
from primacy_agent.config import load_config
from primacy_agent.core.probing import NOT_OWED
from primacy_agent.node import Node
from primacy_agent.state import ACTIVE_FILE, AgentState
from primacy_wire.channel import make_channel
from primacy_wire.clock import read_now
from primacy_wire.messages import Lag, Report
from primacy_wire.server import listen, make_server
from primacy_wire.session_codec import from_agent_from_proto, from_agent_to_proto

from tests.integration.coordinators import free_port
from tests.integration.probed import response, serving, until
from tests.integration.test_readme import _grpcurl

pytestmark = pytest.mark.integration

DOCS = Path(__file__).parents[2] / "docs" / "probes.md"
RSS_KIB_MAX = 60 * 1024
LOOKS = 100
"""After so many looks, what would pile up has piled up."""
PAGE = "".join(f'other{{n="{n}",code="200"}} {n}\n' for n in range(20_000))
"""About half a megabyte of which nothing is asked."""


def settings(folder: Path, http: int, grpc: int) -> Path:
    """An agent's settings file with a probe of every kind, all of which find something."""
    fast = {"interval": "20ms", "timeout": "10s", "rise": 1}
    page = f"http://127.0.0.1:{http}/metrics"
    lag = 'echo looked >> "$LOOKS_FILE"; echo replica_lag_bytes 4096; echo own 1; echo from the replica >&2'
    probes: list[dict[str, Any]] = [
        {"name": "process", "kind": "process", "pidFile": str(folder / "pid")},
        {"name": "tcp", "kind": "tcp", "address": f"127.0.0.1:{http}"},
        {"name": "http", "kind": "http", "url": f"http://127.0.0.1:{http}/healthz"},
        {"name": "grpc", "kind": "grpc", "address": f"127.0.0.1:{grpc}"},
        {"name": "page", "kind": "prometheus", "url": page, "series": {"in_flight": "busy", "lag_seconds": "behind"}},
        {
            "name": "lag",
            "kind": "exec",
            "argv": ["/bin/sh", "-c", lag],
            "series": {"lag_bytes": "replica_lag_bytes", "own": "own"},
        },
        {"name": "deep", "kind": "exec", "argv": ["/bin/false"], "smoke": True},
    ]
    (folder / "pid").write_text(str(os.getpid()))
    file = folder / "agent.yaml"
    content = {
        "region": "eu",
        "coordinators": [f"127.0.0.1:{free_port()}"],
        "stateDir": str(folder / "state"),
        "grpc": {"address": f"127.0.0.1:{free_port()}"},
        "http": {"address": ""},
        "probes": [fast | probe for probe in probes],
    }
    file.write_text(yaml.safe_dump(content))
    return file


def run_from_page(address: str) -> str:
    """What the command on docs/probes.md prints for the agent at this address."""
    (line,) = [line for line in DOCS.read_text().splitlines() if line.startswith("grpcurl ")]
    command = [_grpcurl(), *shlex.split(line.replace("127.0.0.1:7410", address))[1:]]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def series_in(detail: agent_pb2.ReportDetail) -> dict[str, float]:
    return {each.name: each.value for each in detail.series}


async def test_an_agent_shows_all_its_probes_and_stays_small(tmp_path: Path) -> None:
    server = make_server()
    health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), server)
    port = listen(server, "127.0.0.1:0")
    await server.start()
    looks, log = tmp_path / "looks", tmp_path / "log"
    async with serving(response("200 OK", f"{PAGE}busy 3\nbehind 0.25\n")) as http:
        file = settings(tmp_path, http, port)
        address = load_config(str(file), {}, {}).grpc.address
        environment = {**os.environ, "PRIMACY_PARENT_PID": str(os.getpid()), "LOOKS_FILE": str(looks)}
        command = [sys.executable, "-m", "primacy_agent.main", "--config", str(file)]
        with log.open("ab") as end:
            agent = subprocess.Popen(command, stdout=end, stderr=end, env=environment)
        try:
            await until(
                lambda: (looks.exists() and len(looks.read_text().split()) > LOOKS) or agent.poll() is not None,
                "looks",
                60,
            )
            assert agent.poll() is None, log.read_text()
            async with make_channel(address) as channel:
                stub: Any = LocalServiceStub(channel)
                status: GetStatusResponse = await stub.GetStatus(GetStatusRequest(), timeout=10)
            shown = json.loads(await asyncio.to_thread(run_from_page, address))
            rss = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{agent.pid}/status").read_text())
        finally:
            agent.kill()
            agent.wait()
            await server.stop(None)
    assert [probe["name"] for probe in shown["detail"]["probes"]] == [probe.name for probe in status.detail.probes]
    assert (status.healthy, status.total) == (1, 1), status.reason
    assert [(probe.name, probe.kind) for probe in status.detail.probes] == [
        *(("process", "process"), ("tcp", "tcp"), ("http", "http"), ("grpc", "grpc")),
        *(("page", "prometheus"), ("lag", "exec"), ("deep", "exec")),
    ]
    assert all(probe.healthy for probe in status.detail.probes[:-1])
    assert [probe.message for probe in status.detail.probes] == [""] * 5 + ["from the replica", NOT_OWED]
    assert series_in(status.detail) == {"in_flight": 3, "lag_seconds": 0.25, "lag_bytes": 4096, "own": 1}
    assert rss is not None and int(rss[1]) < RSS_KIB_MAX


async def test_what_probes_measure_is_in_the_next_report_as_the_coordinator_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKS_FILE", str(tmp_path / "looks"))
    async with serving(response("200 OK", "busy 3\nbehind 0.25\n")) as http:
        config = load_config(str(settings(tmp_path, http, free_port())), {}, {})
        state = AgentState(config.state_dir, config.group, config.region, config.name)
        node = Node(config, state)
        await node.start()
        try:
            await until(lambda: "own" in series_in(node.detail()) and node.load.in_flight == 3, "measured")
            report = from_agent_from_proto(from_agent_to_proto(node.build_report(read_now())))
        finally:
            await node.stop(release=False)
            state.close()
    assert isinstance(report, Report)
    assert report.load.in_flight == 3
    assert report.lag == Lag(250_000_000, -1, 4096)
    assert series_in(report.detail) == {"in_flight": 3, "lag_seconds": 0.25, "lag_bytes": 4096, "own": 1}


async def test_only_an_agent_whose_machine_was_down_owes_smoke_probes_from_its_start(tmp_path: Path) -> None:
    async def start() -> bool:
        state = AgentState(tmp_path, "default", "eu", "one")
        node = Node(load_config(None, {}, {"region": "eu", "name": "one"}), state)
        try:
            state.show(node.active())
            return state.rebooted
        finally:
            await node.stop(release=False)
            state.close()

    assert [await start(), await start()] == [False, False], "neither the first life nor a restart"
    file = tmp_path / ACTIVE_FILE
    file.write_text(re.sub(r'"boot_id": "[^"]+"', '"boot_id": "of another time"', file.read_text()))
    assert [await start(), await start()] == [True, False]
    file.write_text("damaged")
    assert await start() is False


def test_grpc_is_told_that_programs_are_started_before_it_is_loaded() -> None:
    program = (
        "import os, sys, primacy_agent.main as main\n"
        "assert 'grpc' not in sys.modules\n"
        "assert main.main(['--region', 'eu', '--check']) == 0\n"
        "assert 'grpc' in sys.modules\n"
        "assert os.environ['GRPC_ENABLE_FORK_SUPPORT'] == '0'\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
