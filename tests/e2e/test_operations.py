"""What operators do around a move, by the command against a real `primacy up`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.clusters_up import PRIMACY, Up, environment, is_running, page, until

pytestmark = pytest.mark.integration

REGIONS = ("us-east", "eu-west", "ap-south")
WHY = ("--reason", "new kernel")
POLICY = """\
firstWait: 4s
drainTime: 1s
slowStart: 1s
holdDown: 2s
coolDown: 0s
failbackAfter: 2s
weightSlew: 1
weightHysteresis: 0
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A cluster that every test leaves without overrides and with every process alive."""
    folder = tmp_path_factory.mktemp("operations")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with Up(folder / "cluster", "--regions", "3", "--policy", str(policy)) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_before(up: Up) -> Iterator[None]:
    yield
    undo = {"DRAIN": "undrain", "CORDON": "uncordon", "PAUSE": "resume", "PIN": "unpin"}
    for each in up.json("overrides")["overrides"]:
        kind = each["kind"].removeprefix("OVERRIDE_KIND_")
        words = [undo[kind]]
        if each["region"]:
            words += ["--from", each["region"]] if kind == "PIN" else [each["region"]]
        up.primacy(*words)
    until(lambda: set(up.statuses().values()) == {"REGION_STATUS_HEALTHY"}, "all is well again", 60.0)
    until(lambda: up.active()[0], "a region is active")
    until(lambda: are_at_home(up), "each region's reads stay there")


def others(region: str) -> list[str]:
    return [name for name in REGIONS if name != region]


def rows(up: Up) -> dict[str, dict[str, float]]:
    """The reads of each region, as its own agent has them."""
    found = {}
    for region in up.cluster["regions"]:
        code, _, text = page(region["agents"][0]["http"], "/weights")
        assert code == 200
        found[region["name"]] = dict(json.loads(text)["row"]["weights"])
    return found


def are_at_home(up: Up) -> bool:
    """Whether reads go where they come from, as the policy has it while all regions are well."""
    return all(row[name] == 1 for name, row in rows(up).items())


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---- drains


def test_draining_the_active_region_moves_the_lease_and_the_reads_and_undraining_leaves_the_lease(up: Up) -> None:
    region, epoch = up.active()
    drained = up.json("drain", region, *WHY, "--for", "10m", "--owner", "ops", "--yes")
    assert drained["region"]["drainState"] == "DRAIN_STATE_DRAINED"
    target, after = up.active()
    assert target in others(region) and after == epoch + 1
    until(lambda: all(row[region] == 0 for row in rows(up).values()), f"no agent sends reads to {region}")
    (newest, *_) = up.json("history")["failovers"]
    assert (newest["kind"], newest["state"]) == ("FAILOVER_KIND_PLANNED", "FAILOVER_STATE_SUCCEEDED")
    (override,) = up.json("overrides")["overrides"]
    assert (override["kind"], override["region"], override["owner"]) == ("OVERRIDE_KIND_DRAIN", region, "ops")
    assert 500 < float(override["remaining"].removesuffix("s")) <= 600
    assert "standby, drained" in done(up.primacy("status"))
    failed = up.primacy("failover", "--to", region, "--yes")
    assert failed.returncode == 1 and "DRAINED" in failed.stderr

    done(up.primacy("undrain", region))
    assert up.json("overrides")["overrides"] == []
    until(lambda: rows(up)[region][region] > 0, f"{region} gets reads again")
    assert up.active() == (target, after)
    again = up.primacy("undrain", region)
    assert again.returncode == 1 and "NOT_DRAINED" in again.stderr


def test_a_drain_without_another_region_to_take_over_is_refused_and_changes_nothing(up: Up) -> None:
    region, epoch = up.active()
    for name in others(region):
        done(up.primacy("cordon", name, *WHY, "--yes"))
    before = rows(up)
    refused = up.primacy("drain", region, *WHY, "--yes")
    assert refused.returncode == 1
    assert "NO_TARGET" in refused.stderr and "next: primacy explain" in refused.stderr
    assert up.active() == (region, epoch)
    assert rows(up) == before
    assert {each["kind"] for each in up.json("overrides")["overrides"]} == {"OVERRIDE_KIND_CORDON"}


@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_a_drain_says_what_it_costs_and_asks(up: Up, answer: str) -> None:
    region, epoch = up.active()
    code, said = up.at_terminal(("drain", region, *WHY, "--no-wait"), "[y/N]", answer)
    assert f"{region} is HEALTHY and active" in said and "of the reads" in said and "1. " in said
    assert code == (0 if answer == "y" else 1), said
    if answer == "n":
        assert up.active() == (region, epoch)
        assert up.json("overrides")["overrides"] == []
    else:
        until(lambda: up.active()[0] in others(region), "the lease goes first")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("drain", "us-east"), 2, 'next: primacy drain us-east --reason "why"'),
        (("drain", "us-east", *WHY), 2, "--yes"),
        (("drain", "nowhere", *WHY, "--yes"), 1, "nowhere"),
        (("drain", "us-east", *WHY, "--for", "73h", "--yes"), 2, "expireTime"),
        (("cordon", "us-east", *WHY, "--until", "2020-01-01T00:00", "--yes"), 2, "expireTime"),
        (("drain", "us-east", *WHY, "--override", "GRAVITY", "--yes"), 2, "GRAVITY"),
        (("pin", "us-east=0.5", "eu-west=0.4", *WHY, "--yes"), 2, "weights"),
        (("pin", "nowhere=1", *WHY, "--yes"), 1, "nowhere"),
        (("failover", "--approve", "nothing", "--yes"), 1, "nothing"),
        (("resume",), 1, "NOT_PAUSED"),
        (("uncordon", "us-east"), 1, "NOT_CORDONED"),
        (("unpin",), 1, "NOT_PINNED"),
    ],
)
def test_what_cannot_be_is_named_and_changes_nothing(up: Up, words: tuple[str, ...], code: int, text: str) -> None:
    active = up.active()
    result = up.primacy(*words)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert text in result.stderr
    assert up.json("overrides")["overrides"] == []
    assert up.active() == active


# ---- pauses


def test_a_pause_puts_a_failover_off_until_it_is_resumed(up: Up) -> None:
    region, epoch = up.active()
    done(up.primacy("pause", *WHY, "--for", "20m", "--yes"))
    service = up.region(region)["services"][0]
    os.kill(service["pid"], signal.SIGKILL)
    try:
        until(lambda: up.statuses()[region] == "REGION_STATUS_DOWN", f"{region} is down")
        until(lambda: since_s(up, region) > 3, "an election would have begun long ago")
        assert up.active() in ((region, epoch), ("", epoch))
        (found,) = [each for each in up.json("status")["overrides"] if each["kind"] == "OVERRIDE_KIND_PAUSE"]
        assert found["reason"] == "new kernel"
        ready = up.json("readiness")
        (prospect,) = [each for each in ready["regions"] if each["region"] == region]
        assert prospect["outcome"] == "BY_HAND" and "paused" in prospect["obstacles"][0]
        done(up.primacy("resume"))
        until(lambda: up.active()[0] in others(region), "the failover that was put off")
        assert up.active()[1] > epoch
    finally:
        up.restart(service)


def since_s(up: Up, name: str) -> float:
    """For how long a region's status has stood."""
    (region,) = [each for each in up.json("regions")["regions"] if each["name"] == name]
    since = datetime.fromisoformat(region["statusSinceTime"].replace("Z", "+00:00"))
    return (datetime.now(UTC) - since).total_seconds()


# ---- pins


def test_pinned_shares_reach_every_agent_until_they_are_unpinned(up: Up) -> None:
    done(up.primacy("pin", "us-east=75%", "eu-west=0.25", *WHY, "--yes"))
    pinned = {"us-east": 0.75, "eu-west": 0.25, "ap-south": 0.0}
    until(lambda: all(row == pytest.approx(pinned) for row in rows(up).values()), "the pin is everywhere")
    causes = up.json("weights", "--from", "us-east")["rows"][0]["causes"]["eu-west"]["causes"]
    assert "pin" in [cause["name"] for cause in causes]
    assert sum(cause["share"] for cause in causes) == pytest.approx(0.25)
    explained = done(up.primacy("weights", "--explain"))
    assert "pin" in explained
    assert "pin" in done(up.primacy("overrides"))
    done(up.primacy("unpin"))
    until(lambda: are_at_home(up), "each region's reads stay there again")


# ---- looking


def test_readiness_tells_a_group_that_can_lose_any_region_from_one_that_cannot(up: Up) -> None:
    active, _ = up.active()
    ready = up.json("readiness")
    assert ready["ready"] and ready["activeRegion"] == active
    outcomes = {each["region"]: each["outcome"] for each in ready["regions"]}
    assert outcomes == {name: "MOVES" if name == active else "STAYS" for name in REGIONS}
    for name in others(active):
        done(up.primacy("cordon", name, *WHY, "--yes"))
    failed = up.primacy("readiness", "-o", "json")
    assert failed.returncode == 1
    assert f"without {active} no region could be active" in failed.stderr
    found = json.loads(failed.stdout)
    (lost,) = [each for each in found["regions"] if not each["ready"]]
    assert lost["region"] == active
    assert {rule["region"]: rule["rule"] for rule in lost["rules"]} == dict.fromkeys(others(active), "CORDONED")


def test_the_doctor_finds_a_group_well_and_then_an_agent_that_is_gone(up: Up) -> None:
    def examined() -> dict[str, set[str]]:
        result = up.primacy("doctor", "-o", "json")
        found: dict[str, set[str]] = {}
        for check in json.loads(result.stdout)["checks"]:
            found.setdefault(check["level"], set()).add(check["name"])
        assert result.returncode == (1 if "FAIL" in found else 0), result.stderr
        return found

    # Agents look at each other only now and then.
    until(lambda: "FAIL" not in (found := examined()) and "links" in found["OK"], "it is well")
    well = examined()
    assert well["OK"] >= {"store", "lease", "agents", "versions", "ports", "links", "endpoint", "clocks"}
    assert well["WARN"] >= {"placement"}, "everything runs on one machine"
    agent = up.region("ap-south")["agents"][0]
    os.kill(agent["pid"], signal.SIGKILL)
    until(lambda: not is_running(agent["pid"]), "the agent is dead")
    try:
        until(lambda: "agents" in examined().get("FAIL", ()), "its absence is found")
        said = up.primacy("doctor")
        assert said.returncode == 1
        assert "no agent of ap-south is connected" in said.stdout and "→ " in said.stdout
    finally:
        up.restart(agent)


def test_policy_check_says_the_same_with_and_without_a_coordinator(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("leaseTtl: 8s\nreportInterval: 2s\ngrace: 1s\n")
    asked = up.json("policy", "check", str(file))["worstCase"]
    alone = up.json("policy", "check", str(file), "--offline")["worstCase"]
    assert asked == alone
    assert asked["total"] == "11.080s"
    assert "leaseTtl·(1+driftBound)" in done(up.primacy("policy", "check"))
    file.write_text("leaseTtl: 4s\nreportInterval: 2s\n")
    refused = up.primacy("policy", "check", str(file))
    assert refused.returncode == 2 and "reportInterval" in refused.stderr


def test_watch_once_shows_the_group(up: Up) -> None:
    active, epoch = up.active()
    done(up.primacy("cordon", others(active)[0], *WHY, "--yes"))
    said = done(up.primacy("watch", "--once"))
    for text in (f"{active}, epoch {epoch}, lease runs out in", "standby, cordoned", "ENDS IN", "59 min"):
        assert text in said, text
    assert up.json("watch", "--once")["activeRegion"] == active


@contextmanager
def running(up: Up, *words: str) -> Iterator[Path]:
    """The command in the background; what it prints is in the file."""
    file = up.folder.with_name("-".join(words))
    with file.open("wb") as out:
        process = subprocess.Popen(
            (*PRIMACY, *words),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**environment(), "PRIMACY_ADDRESS": up.address},
            start_new_session=True,
        )
    try:
        yield file
        assert process.poll() is None, file.read_text()
    finally:
        process.kill()
        process.wait()


def test_watching_and_following_go_on_when_the_coordinator_is_back(up: Up) -> None:
    coordinator = up.cluster["coordinators"][0]
    active, _ = up.active()
    with running(up, "watch", "--interval", "0.2") as watch, running(up, "events", "--follow") as events:
        until(lambda: f"{active} is active" in watch.read_text(), "the state of the group")
        until(lambda: "lease-accepted" in events.read_text(), "what happened so far")
        pid = coordinator["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: not is_running(pid), "the coordinator is dead")
        until(lambda: "STALE" in watch.read_text() and "is gone" in events.read_text(), "both say so")
        up.restart(coordinator)
        until(lambda: up.active()[0] == active, "it is there again", 60.0)
        done(up.primacy("cordon", others(active)[0], *WHY, "--yes"))
        until(lambda: "overrides: cordon" in watch.read_text(), "the watch tells what came after")
        until(lambda: "cordon-set" in events.read_text(), "the journal goes on")
    lines = [line for line in events.read_text().splitlines() if "lease-accepted" in line]
    assert len(lines) == len(set(lines)), "nothing is told twice"
