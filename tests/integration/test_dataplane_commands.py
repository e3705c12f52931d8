"""What `primacy dataplane` prints runs as it is: a real Envoy that starts from it follows the agent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from primacy.agent.v1.local_service_pb2 import GetStatusRequest

from tests.integration.clusters import Cluster, until
from tests.integration.haproxies import need, set_up, some_address
from tests.integration.requests import failures, send

pytestmark = pytest.mark.integration
SECONDS = 30.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("dataplane"))
    for agent in cluster.of("us-east"):
        set_up(agent, xds={"address": some_address()})
    with cluster:
        yield cluster


def primacy(*words: str) -> str:
    command = [sys.executable, "-P", "-m", "primacy_cli.main", "dataplane", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def envoy(folder: Path, config: str) -> Iterator[None]:
    program = os.environ.get("PRIMACY_ENVOY") or need("envoy")
    (folder / "envoy.yaml").write_text(config)
    command = [program, "-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1"]
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("flags", [(), ("--json", "--incremental")])
def test_envoy_follows_and_is_shown(cluster: Cluster, tmp_path: Path, flags: tuple[str, ...]) -> None:
    (agent,) = cluster.of("us-east")
    listen, node = some_address(), f"envoy-{len(flags)}"
    words = ("envoy-bootstrap", "--agent", agent.grpc, "--listen", listen, "--node", node, *flags)
    with envoy(tmp_path, primacy(*words)):
        until(lambda: set(send(listen, 5)) == {"us-east"}, "reads go by the weights", SECONDS)
        assert set(send(listen, 20, {"Primacy-Class": "write"})) == {cluster.active()[0]}

        def shown() -> dict[str, Any]:
            answer = agent.local.GetStatus(GetStatusRequest(), timeout=10)
            status = MessageToDict(answer.data_plane, always_print_fields_with_no_presence=True)
            return next((client for client in status["xdsClients"] if client["node"] == node), {})

        def has_taken_all() -> bool:
            followed = shown().get("subscriptions", [])
            return len(followed) >= 3 and all(one["ackedVersion"] == one["sentVersion"] for one in followed)

        until(has_taken_all, "Envoy has taken all that was sent", SECONDS)
        client = shown()
        assert client["incremental"] is bool(flags) and client["userAgent"].startswith("envoy")
        assert not any(one["rejection"] or one["unknown"] for one in client["subscriptions"])
        # The agent goes; nothing changes.
        agent.kill()
        assert failures(send(listen, 100)) == 0
        agent.start()
        until(has_taken_all, "Envoy follows the agent's next life", SECONDS)
        assert failures(send(listen, 100)) == 0
    until(lambda: not shown(), "it is gone", SECONDS)


def test_people_see_it_at_a_glance(cluster: Cluster) -> None:
    (agent,) = cluster.of("us-east")
    assert " ok\n" in primacy("status", "--agent", agent.grpc)
    assert '"name": "xds"' in primacy("status", "--agent", agent.grpc, "-o", "json")
    (other,) = cluster.of("eu-west")
    assert "Nothing is switched on" in primacy("status", "--agent", other.grpc)
