"""A real Alertmanager on loopback, which tells a receiver of the test what it would tell people."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clusters_up import until

CONFIG = """\
route:
  receiver: test
  group_by: ['...']
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 1h
receivers:
- name: test
  webhook_configs:
  - url: {url}
    send_resolved: true
"""


def program() -> str:
    """The real program; skips, or fails where nothing may be missing."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if found is None:
        why = "alertmanager is missing: apt-get install prometheus-alertmanager"
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why)
        pytest.skip(why)
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


class RealAlertmanager:
    """One instance; `receiver_url` is told what it sends to people."""

    def __init__(self, folder: Path, receiver_url: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = folder / "alertmanager.yml"
        self._config.write_text(CONFIG.format(url=receiver_url))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program(),
                    f"--config.file={self._config}",
                    f"--storage.path={self._folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        until(lambda: self._get("/-/ready") == b"OK", "Alertmanager is ready", 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def alerts(self) -> list[dict[str, Any]]:
        """What it takes to be firing."""
        found: list[dict[str, Any]] = json.loads(self._get("/api/v2/alerts?active=true"))
        return sorted(found, key=lambda one: str(one["labels"]))

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=5) as answer:
            body: bytes = answer.read()
            return body.strip()
