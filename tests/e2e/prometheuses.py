"""A real Prometheus on loopback that scrapes what a test tells it to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clusters_up import until

READY_S = 60.0


def program(name: str) -> str:
    """`prometheus` or `promtool`; skips, or fails where nothing may be missing."""
    found = shutil.which(name)
    if found is None:
        why = f"{name} is missing: apt-get install prometheus"
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why)
        pytest.skip(why)
    return found


def promtool(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([program("promtool"), *words], input=stdin, capture_output=True, timeout=60, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Prometheus:
    """Use as a context manager; ready when entered."""

    def __init__(self, folder: Path, config: Path, address: str) -> None:
        self._config = config
        self._folder = folder
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Prometheus:
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address={self._address}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: self._get("/-/ready"), "Prometheus is ready", READY_S)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """Labels, sorted, without those of the scrape -> value."""
        found = self._api("query", query=expression)
        assert found["resultType"] == "vector", found
        hidden = ("__name__", "instance", "job")
        return {
            tuple(sorted((name, text) for name, text in one["metric"].items() if name not in hidden)): float(
                one["value"][1]
            )
            for one in found["result"]
        }

    def targets(self) -> dict[str, str]:
        """Address -> `up`, `down` or `unknown`."""
        return {one["labels"]["instance"]: one["health"] for one in self._api("targets")["activeTargets"]}

    def rules(self) -> dict[str, str]:
        """Name -> `ok`, `err` or `unknown`."""
        groups = self._api("rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    def _api(self, what: str, **parameters: str) -> Any:
        found = json.loads(self._get(f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}"))
        assert found["status"] == "success", found
        return found["data"]

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{self._address}{path}", timeout=10) as answer:
            body: bytes = answer.read()
            return body
