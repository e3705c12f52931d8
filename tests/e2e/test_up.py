"""`primacy up` as a user runs it: real daemons, real failures, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.clusters_up import PRIMACY, Up, environment, is_running, page, patient, running_under, until

pytestmark = pytest.mark.integration

CALM = {"inputs": [0.1, 0.2, 0.3, 0.4]}
REGIONS = ["us-east", "eu-west", "ap-south"]


def reads(agent: dict[str, Any]) -> dict[str, float]:
    """The agent's row of weights."""
    code, _, text = page(agent["http"], "/weights")
    assert code == 200
    return dict(json.loads(text)["row"]["weights"])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A cluster that tests only look at, or put back as it was."""
    folder = tmp_path_factory.mktemp("shared") / "cluster"
    folder.mkdir()
    # An earlier run's file must not pass for this one's.
    (folder / "cluster.json").write_text("an earlier run's")
    with Up(folder, "--regions", "3") as running:
        yield running


def test_the_file_names_every_process_with_a_command_that_stands_alone(up: Up) -> None:
    assert [region["name"] for region in up.cluster["regions"]] == REGIONS
    assert [len(region["agents"]) for region in up.cluster["regions"]] == [1, 1, 1]
    addresses = [entry[kind] for entry in up.entries() for kind in ("grpc", "http") if kind in entry]
    assert len(set(addresses)) == len(addresses) == 2 + 3 * 2 + 3
    for entry in up.entries():
        assert is_running(entry["pid"])
        command = Path(f"/proc/{entry['pid']}/cmdline").read_bytes().decode().split("\0")[:-1]
        assert command == entry["command"]
        assert os.path.isabs(entry["command"][0])
        paths = [word for word in entry["command"] if str(up.folder) in word]
        assert paths and all(os.path.isabs(path) for path in paths)
        assert Path(entry["log"]).is_file()


def test_the_file_names_the_folders_where_models_and_documents_appear(up: Up) -> None:
    agents = [agent for region in up.cluster["regions"] for agent in region["agents"]]
    for what in ("models", "configs"):
        folders = {agent[what] for agent in agents}
        assert len(folders) == len(agents) and all(Path(folder).is_dir() for folder in folders)
    done = up.primacy("config", "set", "limits", "a: 1", "--agent", agents[0]["grpc"])
    assert done.returncode == 0, done.stderr
    until(
        lambda: all(Path(agent["configs"], "limits").is_file() for agent in agents), "the document is in every folder"
    )


def test_the_file_names_where_each_agent_hands_its_weights_on(up: Up) -> None:
    agents = [agent for region in up.cluster["regions"] for agent in region["agents"]]
    assert len({agent[what] for agent in agents for what in ("xds", "haproxy", "weights")}) == 3 * len(agents)
    for agent in agents:
        until(Path(agent["weights"]).is_file, "the weights are there")
        assert set(json.loads(Path(agent["weights"]).read_text())["read"]) == set(REGIONS)
        shown = up.json("dataplane", "status", "--agent", agent["grpc"])["outputs"]
        assert {output["name"]: output["address"] for output in shown} == {
            "file": agent["weights"], "haproxy": agent["haproxy"], "xds": agent["xds"],
        }  # fmt: skip
        assert not any(output["trouble"] for output in shown)


def test_each_process_is_in_a_session_of_its_own(up: Up) -> None:
    sessions = {os.getsid(entry["pid"]) for entry in up.entries()}
    assert len(sessions) == len(up.entries())
    assert os.getsid(up.process.pid) not in sessions


def test_ready_means_healthy_with_an_accepted_lease_and_weights_everywhere(up: Up) -> None:
    status = up.json("status")
    assert {region["name"]: region["status"] for region in status["regions"]} == dict.fromkeys(
        sorted(REGIONS), "REGION_STATUS_HEALTHY"
    )
    assert status["activeRegion"] in REGIONS
    assert status["lease"]["phase"] == "LEASE_PHASE_ACCEPTED"
    for region in up.cluster["regions"]:
        for agent in region["agents"]:
            assert set(reads(agent)) == set(REGIONS)
            assert sum(reads(agent).values()) == pytest.approx(1)


def test_the_policy_is_quick_enough_to_watch(up: Up) -> None:
    policy = up.json("policy", "get")["policy"]
    wanted = {
        "leaseTtl": "3s",
        "reportInterval": "0.250s",
        "grace": "0.500s",
        "firstWait": "0.500s",
        "stableFor": "3s",
        "switchoverTimeout": "10s",
        "holdDown": "2s",
        "coolDown": "2s",
        "flapHalfLife": "30s",
        "drainTime": "3s",
        "slowStart": "5s",
        "readStrategy": "ROUTING_STRATEGY_GEOGRAPHIC",
    }
    assert {key: policy[key] for key in wanted} == wanted


def test_services_compute_and_say_where(up: Up) -> None:
    answers = []
    for region in up.cluster["regions"]:
        address = region["services"][0]["http"]
        code, headers, text = page(address, "/predict", CALM)
        assert (code, headers["Primacy-Region"]) == (200, region["name"])
        answers.append({key: value for key, value in json.loads(text).items() if key != "region"})
        code, headers, _ = page(address, "/nowhere")
        assert (code, headers["Primacy-Region"]) == (404, region["name"])
        assert re.search(r"^demo_requests_total \d+", page(address, "/metrics")[2], re.MULTILINE)
    assert answers[0] == answers[1] == answers[2], "the same model gives the same answer everywhere"
    other = page(up.cluster["regions"][0]["services"][0]["http"], "/predict", {"inputs": [4, -3, 2, -1]})[2]
    assert json.loads(other) != {**answers[0], "region": "us-east"}


def test_it_prints_what_to_try_next(up: Up) -> None:
    said = until(lambda: up.said() if "grpcurl" in up.said() else "", "what to try next")
    service = up.region(up.active()[0])["services"][0]
    assert f"kill -9 {service['pid']}" in said
    assert re.search(rf"grpcurl -plaintext .*{re.escape(up.address)} primacy\.v1\.\w+/\w+", said)
    assert "\x1b[" not in said, "no colours where there is no terminal"


def test_the_same_folder_twice_is_refused_and_the_first_goes_on(up: Up) -> None:
    before = [entry["pid"] for entry in up.entries()]
    words = (*PRIMACY, "up", "--dir", str(up.folder), "--regions", "3")
    second = subprocess.run(words, capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert second.returncode == 1
    assert str(up.process.pid) in second.stderr and str(up.folder) in second.stderr
    assert "Traceback" not in second.stderr
    assert all(is_running(pid) for pid in before)
    assert json.loads((up.folder / "cluster.json").read_text()) == up.cluster


def test_a_second_cluster_finds_other_ports(up: Up, tmp_path: Path) -> None:
    with Up(tmp_path / "other", "--regions", "1") as other:
        mine = {entry[kind] for entry in up.entries() for kind in ("grpc", "http") if kind in entry}
        theirs = {entry[kind] for entry in other.entries() for kind in ("grpc", "http") if kind in entry}
        assert not mine & theirs
        assert other.active() == ("us-east", 1)
        assert other.stop(signal.SIGTERM) == 0
    assert not running_under(tmp_path)


def test_free_ports_are_not_the_usual_ones(tmp_path: Path) -> None:
    with Up(tmp_path / "other", "--regions", "1", "--free-ports") as other:
        (coordinator,) = other.cluster["coordinators"]
        assert not {coordinator["grpc"], coordinator["http"]} & {"127.0.0.1:7400", "127.0.0.1:7480"}
        assert other.active() == ("us-east", 1)


def test_the_command_moves_the_lease_and_history_tells(up: Up) -> None:
    region, epoch = up.active()
    target = "eu-west" if region != "eu-west" else "us-east"
    asked = up.primacy("failover", "--to", target)
    assert asked.returncode == 2, "without a terminal nobody can be asked"
    assert "--yes" in asked.stderr
    assert up.active() == (region, epoch)
    stale = up.primacy("failover", "--to", target, "--yes", "--if-epoch", str(epoch + 7))
    assert stale.returncode == 1
    assert up.active() == (region, epoch)
    moved = up.primacy("failover", "--to", target, "--yes", "--if-epoch", str(epoch), "--reason", "trying it out")
    assert moved.returncode == 0, moved.stderr
    assert up.active() == (target, epoch + 1)
    newest = up.json("history")["failovers"][0]
    assert (newest["fromRegion"], newest["toRegion"], int(newest["epoch"])) == (region, target, epoch + 1)
    assert (newest["kind"], newest["state"]) == ("FAILOVER_KIND_PLANNED", "FAILOVER_STATE_SUCCEEDED")
    assert newest["reason"] == "trying it out"
    assert up.json("explain", "--if-down", target)["winner"] not in ("", target)


@pytest.mark.parametrize(("answer", "moves"), [("n", False), ("y", True)])
def test_on_a_terminal_it_asks_after_showing_the_cost(up: Up, answer: str, moves: bool) -> None:
    region, epoch = up.active()
    target = "ap-south" if region != "ap-south" else "us-east"
    code, said = up.at_terminal(("failover", "--to", target), "[y/N]", answer)
    assert f"From {region} to {target}" in said and "without an active region" in said
    assert code == (0 if moves else 1), said
    assert up.active() == ((target, epoch + 1) if moves else (region, epoch))


def test_wait_says_when_and_when_not(up: Up) -> None:
    region, _ = up.active()
    assert up.primacy("wait", "--for", f"active={region}", "--timeout", "10s").returncode == 0
    late = up.primacy("wait", "--for", "active=no-such-region", "--timeout", "300ms")
    assert late.returncode == 4, late.stderr


def test_a_killed_service_costs_its_region_the_lease_until_it_is_asked_back(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "3", *patient(tmp_path)) as up:
        assert up.active() == ("us-east", 1)
        service = up.region("us-east")["services"][0]
        os.kill(service["pid"], signal.SIGKILL)
        until(lambda: up.active() == ("eu-west", 2), "eu-west takes over")
        assert up.process.poll() is None, "it outlives its children"
        assert up.statuses()["us-east"] == "REGION_STATUS_DOWN"
        for region in up.cluster["regions"]:
            assert reads(region["agents"][0])["us-east"] == 0
        assert not is_running(service["pid"]), "it restarts nothing"

        up.restart(service)
        until(lambda: up.statuses()["us-east"] == "REGION_STATUS_HEALTHY", "us-east is well again", 30)
        assert page(service["http"], "/predict", CALM)[1]["Primacy-Region"] == "us-east"
        assert up.active() == ("eu-west", 2), "failback is manual"


def test_a_truncated_model_takes_its_region_out(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "2") as up:
        home, epoch = up.active()  # On a busy machine the better one may have joined too late to be elected first.
        (other,) = {"us-east", "eu-west"} - {home}
        model = up.folder / home / "model.json"
        whole = model.read_bytes()
        model.write_bytes(whole[: len(whole) // 2])
        address = up.region(home)["services"][0]["http"]
        until(lambda: page(address, "/healthz")[0] == 503, "its own check fails")
        until(lambda: up.active() == (other, epoch + 1), "the other one takes over")
        model.write_bytes(whole)
        until(lambda: page(address, "/healthz")[0] == 200, "the whole file mends it")


def test_a_restarted_coordinator_moves_nothing_and_ctrl_c_ends_it_too(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "2", *patient(tmp_path)) as up:
        coordinator = up.cluster["coordinators"][0]
        os.kill(coordinator["pid"], signal.SIGKILL)
        until(lambda: not is_running(coordinator["pid"]), "the coordinator is dead")
        assert up.primacy("status").returncode == 3
        again = up.restart(coordinator)
        until(lambda: up.active() == ("us-east", 1), "the same region at the same epoch")
        agent = up.region("eu-west")["agents"][0]
        os.kill(agent["pid"], signal.SIGKILL)
        until(lambda: not is_running(agent["pid"]), "the agent is dead")
        # Started in the same moment in which the cluster is told to stop.
        late = up.restart(agent)
        assert up.stop(signal.SIGINT) == 0
        assert not is_running(again)
        until(lambda: not is_running(late), "the agent that had just started is gone")
        assert not running_under(tmp_path)


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "2") as up:
        assert len(running_under(tmp_path)) == 1 + 1 + 2 * 2
        # A frozen process must die, too.
        os.kill(up.region("eu-west")["agents"][0]["pid"], signal.SIGSTOP)
        os.kill(up.process.pid, signal.SIGKILL)
        up.process.wait()
        until(lambda: not running_under(tmp_path), "no process is left")

        # The folder is free again, and what it holds goes on: the epoch never repeats.
        with Up(up.folder, "--regions", "2") as after:
            region, epoch = after.active()
            assert region and epoch >= 1
            kinds = [failover["kind"] for failover in after.json("history")["failovers"]]
            assert kinds.count("FAILOVER_KIND_INITIAL") == 1


def test_a_stop_before_it_is_ready_leaves_nothing(tmp_path: Path) -> None:
    up = Up(tmp_path / "cluster", "--regions", "2")
    try:
        until(lambda: len(running_under(tmp_path)) > 2, "children are there")
        up.stop(signal.SIGINT)
        assert not running_under(tmp_path)
        assert not (up.folder / "cluster.json").exists()
        assert "Traceback" not in up.said()
    finally:
        up.close()


def test_several_agents_in_a_region_share_its_fate(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "2", "--agents-per-region", "2", *patient(tmp_path)) as up:
        region = up.region("us-east")
        assert (len(region["agents"]), len(region["services"])) == (2, 2)
        os.kill(region["services"][0]["pid"], signal.SIGKILL)
        until(lambda: up.statuses()["us-east"] == "REGION_STATUS_DEGRADED", "half of it is gone")
        assert up.active() == ("us-east", 1), "half of it still serves"
        os.kill(region["services"][1]["pid"], signal.SIGKILL)
        until(lambda: up.active() == ("eu-west", 2), "eu-west takes over")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--regions", "0"), "--regions"),
        (("--regions", "three"), "--regions"),
        (("--agents-per-region", "0"), "--agents-per-region"),
        (("--policy", "/nowhere/policy.yaml"), "/nowhere/policy.yaml"),
    ],
)
def test_what_cannot_be_meant_is_named_and_starts_nothing(tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    command = (*PRIMACY, "up", "--dir", str(tmp_path / "cluster"), *words)
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert result.returncode == 2
    assert named in result.stderr and "Traceback" not in result.stderr
    assert not running_under(tmp_path)


def test_a_policy_with_a_fault_is_named_with_its_line(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("grace: 1s\nleaseTTL: 2s\n")
    command = (*PRIMACY, "up", "--dir", str(tmp_path / "cluster"), "--regions", "1", "--policy", str(policy))
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment(), check=False)
    assert result.returncode == 2
    assert "policy.yaml:2" in result.stderr and "leaseTtl" in result.stderr
    assert not running_under(tmp_path)


def test_without_a_coordinator_the_exit_code_says_so() -> None:
    words = (*PRIMACY, "status", "--address", "127.0.0.1:1")
    result = subprocess.run(words, capture_output=True, text=True, timeout=30, env=environment(), check=False)
    assert result.returncode == 3
    assert "127.0.0.1:1" in result.stderr and "Traceback" not in result.stderr
    why, advice = result.stderr.splitlines()
    assert why.startswith("primacy: ") and "primacy up" in advice
