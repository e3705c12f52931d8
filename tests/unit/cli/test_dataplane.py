"""Data planes by the command line: configurations that run as they are, and whether anybody follows."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
import yaml
from click.testing import Result
from primacy.agent.v1 import local_service_pb2 as pb
from primacy_cli.haproxy_config import Wanted, haproxy_config

from tests.unit.cli.calls import Run, run

STATUS = "primacy.agent.v1.LocalService/GetStatus"
EXAMPLE = Path(__file__).parents[3] / "examples" / "haproxy" / "haproxy.cfg"
ENDPOINTS = {"ap-south": "127.0.0.1:7602", "eu-west": "127.0.0.1:7601", "us-east": "127.0.0.1:7600"}
CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
EDS = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


def status(**addresses: str) -> pb.GetStatusResponse:
    """Of an agent with these outputs, and weights of version 7."""
    found = pb.GetStatusResponse(group="default", region="us-east")
    for name, address in sorted(addresses.items()):
        found.data_plane.outputs.add(name=name, address=address, version=7)
    found.read_weights.version = 7
    found.read_weights.age.FromMilliseconds(1500)
    found.read_weights.endpoints.update(ENDPOINTS)
    found.session.connected = True
    found.session.coordinator = "127.0.0.1:7400"
    return found


def asked(answer: pb.GetStatusResponse, *words: str) -> Result:
    with Run("dataplane", *words) as running:
        running.answer(STATUS, answer)
        return running.result()


# ---- configurations


def test_envoy_gets_yaml_or_json_of_the_same() -> None:
    words = ("envoy-bootstrap", "--listen", "127.0.0.1:7800", "--admin", "127.0.0.1:9901", "--node", "me")
    printed = asked(status(xds="127.0.0.1:7440"), *words)
    assert printed.exit_code == 0 and printed.stdout.startswith("# Envoy for clients in us-east")
    assert "&id" not in printed.stdout
    content = yaml.safe_load(printed.stdout)
    assert content["node"] == {"id": "me", "cluster": "default", "locality": {"region": "us-east"}}
    assert content["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}
    (listener,) = content["static_resources"]["listeners"]
    assert listener["address"]["socket_address"]["port_value"] == 7800
    assert content["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"
    for flag in (("--json",), ("-o", "json")):
        assert json.loads(asked(status(xds="127.0.0.1:7440"), *words, *flag).stdout) == content
    changes = yaml.safe_load(asked(status(xds="127.0.0.1:7440"), *words, "--incremental").stdout)
    assert changes["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"


def test_a_grpc_client_gets_json() -> None:
    printed = asked(status(xds="unix:/run/xds.sock"), "grpc-bootstrap")
    content = json.loads(printed.stdout)
    assert content["xds_servers"][0]["server_uri"] == "unix:/run/xds.sock"
    assert content["node"]["id"].startswith("grpc-") and content["node"]["cluster"] == "default"


def test_an_agent_that_listens_everywhere_is_called_where_it_was_found() -> None:
    words = ("grpc-bootstrap", "--agent", "10.1.2.3:7410")
    for address in ("0.0.0.0:7440", "[::]:7440"):
        content = json.loads(asked(status(xds=address), *words).stdout)
        assert content["xds_servers"][0]["server_uri"] == "10.1.2.3:7440"


@pytest.mark.parametrize(
    ("words", "what", "key"),
    [
        (("envoy-bootstrap", "--listen", "127.0.0.1:1"), "the xDS server", "dataplane.xds.address"),
        (("grpc-bootstrap",), "the xDS server", "dataplane.xds.address"),
        (("haproxy-config", "--listen", "127.0.0.1:1"), "answers to agent checks", "dataplane.haproxy.address"),
    ],
)
def test_what_is_off_is_said_with_the_setting_that_turns_it_on(words: tuple[str, ...], what: str, key: str) -> None:
    result = asked(status(file="/w.json"), *words)
    assert result.exit_code == 1 and result.stdout == ""
    assert f"the agent at 127.0.0.1:7410 does not serve {what}" in result.stderr and f"set {key}" in result.stderr


def test_the_haproxy_example_is_what_is_printed_for_the_local_cluster() -> None:
    printed = asked(status(haproxy="127.0.0.1:7460"), "haproxy-config", "--listen", "127.0.0.1:7810")
    assert printed.stdout == EXAMPLE.read_text()


def test_names_are_looked_up_and_regions_without_an_endpoint_left_out() -> None:
    endpoints = [("ap", ""), ("eu", "eu.example.com:443"), ("us", "[::1]:80")]
    text = haproxy_config(Wanted("shop", "us", endpoints, ("127.0.0.1", 7460), "127.0.0.1:1", "/healthz"))
    lines = [line.strip() for line in text.splitlines()]
    assert "# ap is left out: it names no endpoint." in lines
    eu = 'server eu eu.example.com:443 agent-send "shop/eu\\n" resolvers system init-addr last,libc,none'
    assert eu in lines and 'server us [::1]:80 agent-send "shop/us\\n"' in lines
    assert lines.count("option httpchk GET /healthz") == 2 and "parse-resolv-conf" in lines
    with pytest.raises(ValueError, match="no region has an endpoint"):
        haproxy_config(Wanted("shop", "us", [("ap", "")], ("127.0.0.1", 7460), "127.0.0.1:1"))


@pytest.mark.skipif(shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None, reason="no haproxy")
def test_haproxy_takes_it(tmp_path: Path) -> None:
    endpoints = [("ap", ""), ("eu", "localhost:443"), ("us.x", "[::1]:80")]
    path = tmp_path / "haproxy.cfg"
    path.write_text(haproxy_config(Wanted("shop.x", "us", endpoints, ("::1", 7460), "127.0.0.1:1", "/healthz?a=b")))
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    done = subprocess.run([str(haproxy), "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("envoy-bootstrap", "--listen", "nowhere"), "'nowhere' is not an address"),
        (("haproxy-config", "--listen", "nowhere"), "--listen: 'nowhere' is not an address"),
    ],
)
def test_an_address_that_is_none_is_wrong_usage(words: tuple[str, ...], said: str) -> None:
    result = asked(status(xds="127.0.0.1:7440", haproxy="127.0.0.1:7460"), *words)
    assert result.exit_code == 2 and said in result.stderr


def test_a_health_path_that_is_none_is_wrong_usage() -> None:
    for path in ("healthz", "/a b", "/a\nb"):
        result = run("dataplane", "haproxy-config", "--listen", "127.0.0.1:1", "--health-path", path)
        assert result.exit_code == 2 and "must begin with / and have no space" in result.stderr
    assert run("dataplane", "haproxy-config").exit_code == 2


def test_no_endpoint_anywhere() -> None:
    answer = status(haproxy="127.0.0.1:7460")
    answer.read_weights.endpoints.clear()
    answer.read_weights.endpoints["eu"] = ""
    result = asked(answer, "haproxy-config", "--listen", "127.0.0.1:1")
    assert result.exit_code == 1 and "knows no region with an endpoint" in result.stderr


def test_an_agent_that_is_not_there() -> None:
    with Run("dataplane", "status") as running:
        running.fail(STATUS, grpc.StatusCode.UNAVAILABLE, "connection refused")
        result = running.result()
    assert result.exit_code == 3 and "127.0.0.1:7410" in result.stderr


# ---- status


def test_status_says_who_follows_and_what_is_wrong() -> None:
    answer = status(file="/w.json", hook="/bin/reload", haproxy="127.0.0.1:7460", xds="127.0.0.1:7440")
    answer.data_plane.outputs[2].trouble = "/bin/reload exited with 1: no such upstream"
    answer.data_plane.outputs[2].version = 5
    answer.data_plane.outputs[0].version = 6
    client = answer.data_plane.xds_clients.add(node="envoy-a", user_agent="envoy 1.40.0", peer="127.0.0.1:5000")
    client.subscriptions.add(type_url=CDS, sent_version="ab", acked_version="ab", acks=3, nacks=1)
    client.subscriptions.add(
        type_url=EDS,
        resources=["default", "nope"],
        unknown=["nope"],
        sent_version="cd",
        acked_version="ab",
        rejection="weight must be >= 1",
    )
    answer.data_plane.xds_clients.add(peer="127.0.0.1:5001")
    lines = [" ".join(line.split()) for line in asked(answer, "status").stdout.splitlines()]
    assert "weights version 7, 1.5 s old" in lines and "coordinator 127.0.0.1:7400" in lines
    assert "file /w.json 6 not yet" in lines
    assert "haproxy 127.0.0.1:7460 7 ok" in lines
    assert "hook /bin/reload 5 /bin/reload exited with 1: no such upstream" in lines
    assert "envoy-a envoy 1.40.0 127.0.0.1:5000 Cluster ab ab 1 rejected before" in lines
    rejected = "ClusterLoadAssignment cd ab REJECTED: weight must be >= 1; asks for what there is not: nope"
    assert rejected in lines
    assert "- - 127.0.0.1:5001 nothing yet" in lines
    wide = asked(answer, "status", "-o", "wide").stdout
    assert "ClusterLoadAssignment default, nope" in wide
    shown = json.loads(asked(answer, "status", "-o", "json").stdout)
    assert [output["name"] for output in shown["outputs"]] == ["file", "haproxy", "hook", "xds"]
    assert shown["xdsClients"][0]["subscriptions"][1]["rejection"] == "weight must be >= 1"


def test_status_of_an_agent_with_nothing() -> None:
    answer = pb.GetStatusResponse(group="default", region="us-east")
    answer.session.last_error = "connection refused"
    printed = asked(answer, "status").stdout
    assert "none came yet" in printed and "not heard: connection refused" in printed
    assert "Nothing is switched on: set dataplane.xds" in printed
    answer.data_plane.outputs.add(name="haproxy", address="127.0.0.1:7460", version=0)
    assert "waits for weights" in asked(answer, "status").stdout
