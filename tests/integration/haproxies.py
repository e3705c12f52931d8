"""A real HAProxy, and the agents that it follows."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
import yaml

from tests.integration.clusters import AgentProcess, until
from tests.integration.coordinators import free_port


def need(program: str) -> str:
    """Where a program is; the test is skipped where it is not, and fails where all are required."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is missing: install it by your package manager")
    return found


def settings_file(agent: AgentProcess) -> Path:
    return Path(agent.command[-1])


def set_up(agent: AgentProcess, **dataplane: Any) -> None:
    """Change the settings of its data planes; they hold from its next start on."""
    config = yaml.safe_load(settings_file(agent).read_text())
    config["dataplane"] = config.get("dataplane", {}) | dataplane
    settings_file(agent).write_text(yaml.safe_dump(config))


class HaProxy:
    """One HAProxy with a configuration, and what it says of itself. Use as a context manager."""

    def __init__(self, folder: Path, config: str, address: str) -> None:
        self.address = address
        self._socket = folder / "stats"
        (folder / "stats.cfg").write_text(f"global\n    stats socket {self._socket} level admin\n")
        (folder / "haproxy.cfg").write_text(config)
        files = ["-f", str(folder / "stats.cfg"), "-f", str(folder / "haproxy.cfg")]
        self._command = [need("haproxy"), "-db", *files]
        self._log = folder / "haproxy.log"

    def __enter__(self) -> HaProxy:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until(self.servers, f"haproxy answers: {self._log.read_text()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def servers(self) -> dict[str, dict[str, str]]:
        """`BACKEND/SERVER` -> its line of `show stat`."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self._socket))
            asking.sendall(b"show stat\n")
            text = b"".join(iter(lambda: asking.recv(65_536), b"")).decode()
        rows = csv.DictReader(text.removeprefix("# ").splitlines())
        return {f"{row['pxname']}/{row['svname']}": row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}

    def weights(self, backend: str = "default") -> dict[str, int]:
        """Server -> the weight that it has now; without those that stand in for others."""
        return {
            row["svname"]: int(row["weight"])
            for row in self.servers().values()
            if row["pxname"] == backend and row["bck"] == "0"
        }

    def status(self, server: str) -> str:
        return self.servers()[server]["status"]


def some_address() -> str:
    return f"127.0.0.1:{free_port()}"
