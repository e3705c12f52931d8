"""Two PostgreSQL servers set up as the example's page says, each with a stand-in for systemd and an agent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml
from primacy.v1 import region_pb2, region_service_pb2, region_service_pb2_grpc
from primacy_wire.channel import make_sync_channel

from tests.integration.clusters import AgentProcess, until
from tests.integration.coordinators import CoordinatorProcess, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "postgresql"
OWNER = "postgres"
SUPERVISOR = """#!/bin/bash
# start | start-by-hand | stop: what systemd does with postgresql-primacy.service.
set -eu
. {env}
cd {folder}
supervised() {{ [ -s server.pid ] && readlink "/proc/$(cat server.pid)/exe" >/dev/null; }}
case $1 in
  start)
    # Only in a session of its own it outlives the hook that starts it: so wait until it is there.
    rm -f server.pid
    setsid -f bash -c 'echo $$ >server.pid; exec {example}/bin/start-server {env}' >>server.log 2>&1 </dev/null
    while [ ! -s server.pid ]; do sleep 0.02; done
    ;;
  start-by-hand)
    $AS "$PGBIN/pg_ctl" -w -D "$PGDATA" -o "-p $PGPORT -k $PGHOST" -l "$PGHOST/by-hand.log" start >/dev/null
    ;;
  stop)
    while [ -e hold ]; do sleep 0.05; done
    if supervised && grep -q start-server "/proc/$(cat server.pid)/cmdline"; then
      kill -INT "$(cat server.pid)"
      while supervised && grep -q start-server "/proc/$(cat server.pid)/cmdline"; do sleep 0.05; done
    fi
    if $AS "$PGBIN/pg_ctl" -D "$PGDATA" status >/dev/null; then
      $AS "$PGBIN/pg_ctl" -D "$PGDATA" -m fast stop >/dev/null
    fi
    ;;
esac
"""


def find_programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest if there are several."""
    found = [
        path for top in ("/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql") for path in Path(top).glob("**/bin")
    ]
    if (config := shutil.which("pg_config")) is not None:
        told = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        found.append(Path(told.stdout.strip()))
    usable = [path for path in found if (path / "pg_rewind").exists() and (path / "initdb").exists()]
    return max(usable, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], default=None)


def as_owner() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    return ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--init-groups"]


class Server:
    """The PostgreSQL server of one region and its agent."""

    def __init__(self, folder: Path, region: str, programs: Path) -> None:
        self.region = region
        self.folder = folder
        self.port = free_port()
        self.example = folder / "opt"
        self.env = folder / "postgresql.env"
        self.supervisor = folder / "supervise"
        self.programs = programs
        folder.mkdir(parents=True)
        shutil.copytree(EXAMPLE, self.example)
        self.own(folder, self.example)

    def own(self, *paths: Path) -> None:
        if os.getuid() == 0:
            for path in paths:
                shutil.chown(path, OWNER, OWNER)

    def configure(self, other: Server, coordinator: str, priority: int) -> None:
        """The example's own files, with this machine's places."""
        settings = {
            "PGBIN": str(self.programs), "PGDATA": str(self.folder / "data"), "PGHOST": str(self.folder),
            "PGPORT": str(self.port), "PGDATABASE": "app",
            "PEER": f"host=127.0.0.1 port={other.port} user=replicator",
            "START": f"{self.supervisor} start", "STOP": f"{self.supervisor} stop", "AS": shlex.join(as_owner()),
            "REJOIN_WAIT": "60",
        }  # fmt: skip
        config = yaml.safe_load((self.example / "agent.yaml").read_text())
        text = yaml.safe_dump(config).replace("/opt/primacy/postgresql", str(self.example))
        config = yaml.safe_load(text.replace("/etc/primacy/postgresql.env", str(self.env)))
        config |= {"coordinators": [coordinator], "priority": priority, "endpoint": f"127.0.0.1:{self.port}"}
        config |= {"peerInterval": "0.25s", "peerTimeout": "2s"}
        # A machine with two cores runs all of this at once.
        config["probes"][0] |= {"interval": "0.5s", "timeout": "10s"}
        config["hooks"] |= {"demoteTimeout": "60s"}
        self.agent = AgentProcess(self.folder / "agent", self.region, "agent-1", config)
        settings["AGENT"] = f"http://{self.agent.http}"
        self.env.write_text("".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items()))
        self.supervisor.write_text(SUPERVISOR.format(env=self.env, folder=self.folder, example=self.example))
        self.supervisor.chmod(0o755)

    def page_command(self, text: str) -> None:
        """Run a block of the page as the owner of the data."""
        text = text.replace("/opt/primacy/postgresql", str(self.example))
        text = text.replace("/etc/primacy/postgresql.env", str(self.env))
        text = text.replace("samenet scram-sha-256", "samehost trust")
        run([*as_owner(), "bash", "-euo", "pipefail", "-c", text], self.folder)

    def supervise(self, what: str) -> None:
        run([str(self.supervisor), what], self.folder)

    def sql(self, *statements: str) -> str:
        """What the last statement answers. Raises `Refused`."""
        commands = [word for statement in statements for word in ("-c", statement)]
        done = subprocess.run(
            [*as_owner(), self.programs / "psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose",
             "-h", self.folder, "-p", str(self.port), "-d", "app", *commands],
            capture_output=True, text=True, timeout=60, check=False, cwd=self.folder,
        )  # fmt: skip
        if done.returncode != 0:
            raise Refused(done.stderr)
        return done.stdout.strip()

    def write(self, epoch: int, what: str) -> None:
        """As a client that believes in this epoch. Raises `Refused`."""
        self.sql(f"SET primacy.epoch = {epoch}", f"INSERT INTO orders (what) VALUES ('{what}')")

    def orders(self) -> list[str]:
        return self.sql("SELECT what FROM orders ORDER BY id").splitlines()

    def is_standby(self) -> bool:
        """It streams from the other one."""
        try:
            if self.sql("SELECT pg_is_in_recovery()") != "t":
                return False
            return self.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
        except Refused:
            return False

    def kill(self) -> None:
        """kill -9 for the agent and every process of the server."""
        if self.agent.process is not None and self.agent.process.poll() is None:
            self.agent.kill()
        for process in self.processes():
            process.kill()
        until(lambda: not self.processes(), "the death of the server")

    def processes(self) -> list[psutil.Process]:
        """The server's, and those of its supervisor."""
        data = str(self.folder)
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if any(data in word for word in words) and "primacy_agent.main" not in words:
                    found += [process, *process.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    def close(self) -> None:
        self.kill()
        self.agent.close()

    def logs(self) -> str:
        names = ("agent/agent.log", "server.log", "by-hand.log")
        return "\n".join(f"== {self.region} {n}\n{p.read_text()}" for n in names if (p := self.folder / n).exists())


class Refused(Exception):
    """The server did not take it; its own words."""


class Pair:
    """eu, preferred, and us, set up by the page; the coordinator and both agents run."""

    def __init__(self, folder: Path, programs: Path, policy: dict[str, Any]) -> None:
        merged = yaml.safe_load((EXAMPLE / "policy.yaml").read_text()) | policy
        (folder / "policy.yaml").write_text(yaml.safe_dump(merged))
        self.folder = folder
        self.coordinator = CoordinatorProcess(folder / "coordinator", "--policy", str(folder / "policy.yaml"))
        self.eu = Server(folder / "eu", "eu", programs)
        self.us = Server(folder / "us", "us", programs)
        self.eu.configure(self.us, self.coordinator.grpc, 110)
        self.us.configure(self.eu, self.coordinator.grpc, 100)
        self.servers = {"eu": self.eu, "us": self.us}

    def set_up(self) -> None:
        for where, text in page_blocks():
            if where in self.servers:
                self.servers[where].page_command(text)

    def start(self) -> None:
        self.coordinator.start()
        for server in self.servers.values():
            server.supervise("start")
            server.agent.start()

    def operator(self, text: str) -> str:
        """Run commands of the page as an operator does."""
        environment = {
            **os.environ, "PRIMACY_ADDRESS": self.coordinator.grpc,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        }  # fmt: skip
        return run(["bash", "-euo", "pipefail", "-c", text], self.folder, environment)

    def is_healthy(self, region: str) -> bool:
        with make_sync_channel(self.coordinator.grpc) as channel:
            stub = region_service_pb2_grpc.RegionServiceStub(channel)
            answer = stub.GetRegion(region_service_pb2.GetRegionRequest(name=region), timeout=5)
        return bool(answer.region.status == region_pb2.REGION_STATUS_HEALTHY)

    def expect_active(self, region: str, seconds: float = 90.0) -> int:
        """Wait until a region acts; returns its epoch."""
        server = self.servers[region]
        return int(until(lambda: a.epoch if (a := server.agent.active()).active else 0, f"{region} acts", seconds))

    def close(self) -> None:
        for server in self.servers.values():
            server.close()
        self.coordinator.close()


def run(command: list[str | Path], folder: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


def page_blocks() -> list[tuple[str, str]]:
    """(where, commands) of the page's blocks that are marked as run."""
    page = (EXAMPLE / "README.md").read_text()
    return re.findall(r"<!-- run: (\w+) -->\n```console\n(.*?)```", page, flags=re.DOTALL)


def refused(work: Callable[[], object]) -> str:
    """Why the server refuses it; empty when it takes it."""
    try:
        work()
    except Refused as error:
        return str(error)
    return ""
