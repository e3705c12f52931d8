"""examples/plain-service on two real agents: one worker works at a time, also over a move and a restart."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from primacy_agent.config import load_config

from tests.integration.clusters import AgentProcess, until
from tests.integration.coordinators import CoordinatorProcess

pytestmark = pytest.mark.integration
EXAMPLE = Path(__file__).parents[2] / "examples" / "plain-service"
# A region without an endpoint is out of sight while its only agent restarts: the grace must be longer than that takes.
POLICY = {"leaseTtl": "10s", "reportInterval": "0.25s", "grace": "8s", "firstWait": "3s", "stableFor": "1s"}


class Worker:
    """The example's worker and its agent, with the example's own settings."""

    def __init__(self, folder: Path, region: str, coordinator: str, priority: int) -> None:
        self.example = folder / "plain-service"
        shutil.copytree(EXAMPLE, self.example)
        self.run = folder / "run"
        self.run.mkdir()
        text = (EXAMPLE / "agent.yaml").read_text()
        text = text.replace("/opt/primacy/plain-service", str(self.example)).replace(
            "/run/plain-service", str(self.run)
        )
        config = yaml.safe_load(text) | {"coordinators": [coordinator], "priority": priority, "peerInterval": "0.25s"}
        config["probes"][0] |= {"command": f"{self.example}/worker", "interval": "0.25s"}
        config["hooks"] |= {"promoteTimeout": "30s", "demoteTimeout": "30s"}
        self.agent = AgentProcess(folder / "agent", region, "agent-1", config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "WORK_PAUSE": "0.05"}
        self.process = subprocess.Popen([self.example / "worker", self.run], env=environment, start_new_session=True)
        self.agent.start()

    def close(self) -> None:
        self.agent.close()
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def work(self) -> list[tuple[int, float]]:
        """(epoch, time) of each piece."""
        path = self.run / "work.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(epoch), float(at)) for epoch, at in (line.split() for line in lines)]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[tuple[Worker, Worker]]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump(POLICY))
    coordinator = CoordinatorProcess(tmp_path / "coordinator", "--policy", str(policy))
    eu, us = (Worker(tmp_path / name, name, coordinator.grpc, n) for name, n in (("eu", 200), ("us", 100)))
    try:
        coordinator.start()
        eu.start()
        us.start()
        yield eu, us
    finally:
        eu.close()
        us.close()
        coordinator.close()


def test_one_works_at_a_time(workers: tuple[Worker, Worker]) -> None:
    eu, us = workers
    until(eu.work, "work in eu", 30)
    # The work begins while on_promote still runs.
    until(lambda: eu.agent.active().active, "an active eu")
    # A restart of the agent runs on_promote again, and the work goes on under the same epoch.
    assert eu.agent.process is not None
    eu.agent.signal(signal.SIGTERM)
    eu.agent.process.wait(10)
    eu.agent.start()
    until(lambda: eu.agent.active().active, "an active eu again")
    done = len(eu.work())
    until(lambda: len(eu.work()) > done, "more work in eu")
    assert {epoch for epoch, _ in eu.work()} == {1}
    # Killed: nobody ran on_demote, and us begins once the lease must have run out.
    eu.agent.kill()
    epoch, began_s = until(us.work, "work in us", 30)[0]
    assert epoch > 1
    # It returns, and stops what its worker still did.
    eu.agent.start()
    until(lambda: not (eu.run / "acting").exists(), "on_demote in eu")
    until(lambda: not (eu.run / "busy").exists(), "an idle eu")
    assert began_s > 0


def test_leaving_ends_the_work_before_other_work_begins(workers: tuple[Worker, Worker]) -> None:
    eu, us = workers
    until(eu.work, "work in eu", 30)
    eu.agent.command += ["--release-on-stop"]
    assert eu.agent.process is not None
    eu.agent.signal(signal.SIGTERM)
    eu.agent.process.wait(30)
    eu.agent.start()
    until(lambda: eu.agent.active().active, "an active eu again", 30)
    eu.agent.signal(signal.SIGTERM)
    eu.agent.process.wait(40)
    until(us.work, "work in us", 30)
    assert max(at for _, at in eu.work()) < min(at for _, at in us.work())
    assert max(epoch for epoch, _ in eu.work()) < min(epoch for epoch, _ in us.work())


def test_the_settings_are_valid_where_the_example_is_installed(tmp_path: Path) -> None:
    installed = tmp_path / "opt"
    shutil.copytree(EXAMPLE, installed)
    text = (installed / "agent.yaml").read_text().replace("/opt/primacy/plain-service", str(installed))
    (tmp_path / "agent.yaml").write_text(text)
    assert load_config(str(tmp_path / "agent.yaml"), {}, {}).hooks.on_promote[0] == str(installed / "on_promote")
