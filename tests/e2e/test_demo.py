"""`primacy up --traffic --chaos` as a newcomer runs it: requests flow, things go wrong, and all is well again."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from primacy_cli.demo.counts import Counts, read_counts
from primacy_cli.demo.faults import PRICES

from tests.e2e.clusters_up import Up, is_running, patient, running_under, until

pytestmark = pytest.mark.integration

FREEZES_FIRST, KILLS_FIRST, DISAGREES_FIRST = "3", "28", "0"
"""Seeds."""
MENDED_S = 90.0


def counts(up: Up) -> Counts:
    found = read_counts(up.folder / "traffic")
    assert found is not None
    return found


def log(up: Up) -> str:
    path = up.folder / "chaos.log"
    return path.read_text() if path.exists() else ""


def test_clients_of_every_region_are_served_and_counted(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "2", "--traffic", "20", *patient(tmp_path)) as up:
        traffic: dict[str, Any] = up.cluster["traffic"]
        assert is_running(traffic["pid"]) and set(traffic) == {"pid", "command", "log"}
        until(lambda: all(each.reads > 20 for each in counts(up).regions.values()), "reads from both regions")
        assert set(counts(up).regions) == {"us-east", "eu-west"}
        until(lambda: sum(each.writes for each in counts(up).regions.values()), "a write is kept", 60)
        loads = until(
            lambda: [
                region["load"].get("requestRate", 0)
                for region in up.json("regions", "list")["regions"]
                if region.get("load", {}).get("requestRate", 0) > 1
            ],
            "the regions' load is seen",
        )
        assert loads
        assert up.stop() == 0
        assert not running_under(up.folder)


def test_without_the_flag_nobody_sends_anything(tmp_path: Path) -> None:
    with Up(tmp_path / "cluster", "--regions", "1", "--traffic", "0") as up:
        assert "traffic" not in up.cluster and not (up.folder / "traffic").exists()


def test_what_is_killed_on_purpose_is_started_again_and_all_is_well(tmp_path: Path) -> None:
    flags = ("--regions", "2", "--traffic", "10", "--chaos", KILLS_FIRST, "--chaos-every", "1")
    with Up(tmp_path / "cluster", *flags, *patient(tmp_path)) as up:
        before = up.region("us-east")["services"][0]["pid"]
        until(lambda: "fault 1: kill -9" in log(up), "the first fault", 60)
        until(lambda: not is_running(before), "the service is dead")
        until(lambda: "fault 1: over" in log(up), "the fault is over", 60)
        assert "chaos: kill -9 of the service of us-east" in up.said()
        until(lambda: "fault 2: " in log(up), "all is well again, so the next one begins", MENDED_S)
        up.ready()
        after = up.region("us-east")["services"][0]["pid"]
        assert after != before and is_running(after)
        assert up.stop() == 0
        assert not running_under(up.folder)


def test_what_cannot_start_again_at_once_is_started_until_it_lives(tmp_path: Path) -> None:
    flags = ("--regions", "2", "--chaos", KILLS_FIRST, "--chaos-every", "1")
    with Up(tmp_path / "cluster", *flags, *patient(tmp_path)) as up:
        service = up.region("us-east")["services"][0]
        until(lambda: not is_running(service["pid"]), "the service is dead", 60)
        host, _, port = service["http"].rpartition(":")
        with socket.create_server((host, int(port))):
            until(lambda: "ended again: once more" in log(up), "its port is taken, and it is tried again", 60)
        until(lambda: "fault 1: over" in log(up), "it lives", 60)
        up.ready()
        assert is_running(up.region("us-east")["services"][0]["pid"])


def test_two_regions_disagree_about_a_document_until_somebody_decides(tmp_path: Path) -> None:
    flags = ("--regions", "2", "--chaos", DISAGREES_FIRST, "--chaos-every", "1")
    with Up(tmp_path / "cluster", *flags, *patient(tmp_path)) as up:

        def states() -> list[str]:
            listed = up.primacy("conflict", "list", "--key", PRICES, "-o", "json")
            found = json.loads(listed.stdout)["conflicts"] if listed.returncode == 0 else []
            return [one["state"] for one in found]

        until(lambda: states() == ["CONFLICT_STATE_OPEN"], "neither heard of the other's write", 60)
        until(lambda: states() == ["CONFLICT_STATE_RESOLVED"], "it is decided", 60)
        until(lambda: "fault 1: over" in log(up), "the fault is over", 60)


def test_a_stop_in_the_middle_of_a_standstill_leaves_nothing_behind(tmp_path: Path) -> None:
    flags = ("--regions", "2", "--chaos", FREEZES_FIRST, "--chaos-every", "1")
    with Up(tmp_path / "cluster", *flags, *patient(tmp_path)) as up:
        pids = [region["agents"][0]["pid"] for region in up.cluster["regions"]]
        until(lambda: any(state(pid) == "T" for pid in pids), "an agent stands still", 60)
        assert up.stop(signal.SIGTERM) == 0
        assert not running_under(up.folder)


def test_a_kill_of_all_of_it_in_the_middle_of_a_fault_leaves_nothing_behind(tmp_path: Path) -> None:
    flags = ("--regions", "2", "--traffic", "10", "--chaos", FREEZES_FIRST, "--chaos-every", "1")
    with Up(tmp_path / "cluster", *flags, *patient(tmp_path)) as up:
        until(lambda: "fault 1: " in log(up), "the first fault", 60)
        os.kill(up.process.pid, signal.SIGKILL)
        until(lambda: not running_under(up.folder), "everything dies with it")


def state(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]
