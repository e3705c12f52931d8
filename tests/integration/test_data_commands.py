"""The commands about models, documents, conflicts and the log against a real group, also on a real terminal."""

from __future__ import annotations

import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from primacy.v1 import replication_pb2
from primacy.v1 import replication_service_pb2 as log
from primacy_cli.main import cli

from tests.integration.clusters import AgentProcess, Cluster, until

pytestmark = pytest.mark.integration

WEIGHTS = random.Random(7).randbytes(3_000_000)
HOOK = """#!/bin/sh
[ ! -e {folder}/$PRIMACY_REGION.refuse ] || {{ echo "the server refuses it"; exit 3; }}
"""
MANUAL, MERGED = "by-hand/limits.yaml", "merged/limits.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    hook = folder / "on_apply"
    hook.write_text(HOOK.format(folder=folder))
    hook.chmod(0o755)
    (folder / "group").mkdir()
    policies = {"by-hand/": "MANUAL", "merged/": "MERGE"}
    with Cluster(folder / "group", replication={"onApply": [str(hook)]}, conflictPolicies=policies) as running:
        yield running


@pytest.fixture
def us(cluster: Cluster) -> AgentProcess:
    return cluster.of("us-east")[0]


@pytest.fixture
def eu(cluster: Cluster) -> AgentProcess:
    return cluster.of("eu-west")[0]


def words_of(cluster: Cluster, agent: AgentProcess) -> list[str]:
    return ["--address", cluster.coordinator.grpc, "--agent", agent.grpc]


def primacy(cluster: Cluster, agent: AgentProcess, *words: str, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(cli, [*words_of(cluster, agent), *words], stdin, prog_name="primacy")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def done(cluster: Cluster, agent: AgentProcess, *words: str, stdin: bytes = b"") -> str:
    result = primacy(cluster, agent, *words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def told(cluster: Cluster, agent: AgentProcess, *words: str) -> Any:
    return json.loads(done(cluster, agent, *words, "-o", "json"))


def on_terminal(cluster: Cluster, agent: AgentProcess, *words: str, says: str = "") -> str:
    """What a person sees at a terminal; `says` is typed at once."""
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "primacy_cli.main", *words_of(cluster, agent), *words]
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160", "LINES": "40"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environ, start_new_session=True)
    os.close(child)
    os.write(parent, says.encode())
    seen = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if select.select([parent], [], [], 0.1)[0]:
            try:
                part = os.read(parent, 65536)
            except OSError:  # The last process that had the terminal is gone.
                break
            seen += part
    os.close(parent)
    text = seen.decode(errors="replace")
    assert process.wait(10) == 0, text
    return text


def write_unknowing(cluster: Cluster, key: str, content: str, parent: int) -> log.AppendResponse:
    """A write of eu-west that was made from an older version than the one in force."""
    entry = replication_pb2.Entry(
        id=uuid.uuid4().hex,
        kind=replication_pb2.ENTRY_KIND_CONFIG,
        key=key,
        content=content.encode(),
        format="yaml",
        parent=parent,
        time=replication_pb2.HybridTime(wall_ns=time.time_ns()),
        epoch=cluster.active()[1],
        origin="eu-west",
        agent="eu-west/agent-1",
    )
    request = log.AppendRequest(entry=entry, durability=replication_pb2.DURABILITY_LOCAL)
    return cluster.replication.Append(request, timeout=10)


# ---- models


def test_a_model_from_its_push_to_its_removal(
    cluster: Cluster, us: AgentProcess, eu: AgentProcess, folder: Path
) -> None:
    model = folder / "bert"
    model.mkdir()
    (model / "weights.bin").write_bytes(WEIGHTS)
    first = primacy(cluster, us, "model", "push", "bert", str(model), "-m", "from the lab", "--wait", "60s")
    assert first.exit_code == 0, first.stderr
    assert first.stdout.startswith("bert version 1 is entry ") and "3 MB, of which 3 MB were new" in first.stdout
    assert "every region has applied entry" in first.stderr
    (shown,) = told(cluster, eu, "model", "show", "bert")["models"]
    assert (shown["current"], shown["versions"][0]["message"]) == ("1", "from the lab")
    assert "all" in done(cluster, eu, "model", "list")
    # The second version, pushed twice under one id, happens once.
    (model / "weights.bin").write_bytes(WEIGHTS[:1_000_000] + b"more" + WEIGHTS[1_000_000:])
    words = ("model", "push", "bert", str(model), "--id", "second", "--if-version", "1", "--wait")
    assert told(cluster, us, *words)["appended"] == told(cluster, us, *words)["appended"]
    assert primacy(cluster, us, "model", "push", "bert", str(model), "--if-version", "1").exit_code == 1
    # Back to the one before, without naming it; pins hold.
    assert "bert is as in version 1 again: version 3" in done(
        cluster, us, "model", "rollback", "bert", "--yes", "--wait", "60s"
    )
    done(cluster, eu, "model", "pin", "bert", "2")
    assert "pinned" in done(cluster, eu, "model", "show", "bert")
    done(cluster, eu, "model", "unpin", "bert", "2")
    assert "would be freed" in done(cluster, eu, "model", "gc", "--dry-run")
    assert "all of it is as it should be" in done(cluster, eu, "model", "verify")
    missing = primacy(cluster, us, "model", "rollback", "bert", "77", "--yes")
    assert missing.exit_code == 1 and "bert/77" in missing.stderr
    nothing = primacy(cluster, us, "model", "push", "bert", str(folder / "nothing"))
    assert nothing.exit_code == 1 and "agent's machine" in nothing.stderr
    assert "bert is removed" in done(cluster, us, "model", "remove", "bert", "--yes", "--wait", "60s")
    assert primacy(cluster, us, "model", "remove", "bert", "--yes").exit_code == 1


def test_a_damaged_model_is_named_and_mended(
    cluster: Cluster, us: AgentProcess, eu: AgentProcess, folder: Path
) -> None:
    model = folder / "salted.bin"
    model.write_bytes(WEIGHTS)
    done(cluster, us, "model", "push", "salted", str(model), "--wait", "60s")
    place = eu.state / "models/salted/current/1/salted.bin"
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"salt")
    result = primacy(cluster, eu, "model", "verify", "salted")
    assert result.exit_code == 1
    assert "salted/1/salted.bin" in result.stdout and "fetched anew" in result.stderr
    assert place.read_bytes() == WEIGHTS
    done(cluster, eu, "model", "verify", "salted")


def test_what_is_parked_is_seen_and_tried_again(cluster: Cluster, us: AgentProcess, folder: Path) -> None:
    model = folder / "refused.bin"
    model.write_bytes(WEIGHTS[:1000])
    refuse = folder / "eu-west.refuse"
    refuse.touch()
    result = primacy(cluster, us, "model", "push", "refused", str(model), "--wait", "180s")
    assert result.exit_code == 1
    assert "eu-west/agent-1 has put entry" in result.stderr and "the server refuses it" in result.stderr
    (parked,) = [one for region in told(cluster, us, "replication")["regions"] for one in region.get("parked", [])]
    sequence = parked["sequence"]
    assert f"primacy retry eu-west {sequence}" in result.stderr
    assert f"primacy retry eu-west {sequence}" in done(cluster, us, "replication")
    assert parked["attempts"] > 1
    assert f"parked after {parked['attempts']} tries" in done(cluster, us, "log", "show", sequence)
    refuse.unlink()
    assert "eu-west will try 1 parked entry again" in done(cluster, us, "retry", "eu-west", sequence)
    until(lambda: "parked" not in done(cluster, us, "log", "show", sequence), "it is applied")
    assert primacy(cluster, us, "retry", "--all").exit_code == 1


# ---- documents


def test_a_document_is_written_compared_edited_and_rolled_back(
    cluster: Cluster, us: AgentProcess, eu: AgentProcess, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "app/limits.yaml"
    done(cluster, us, "config", "set", key, "rate: 100", "--wait", "30s")
    assert done(cluster, eu, "config", "get", key) == "rate: 100\n"
    editor = folder / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/100/250/ "$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    assert f"{key} version 2, entry" in done(cluster, eu, "config", "edit", key, "--wait", "30s")
    (change,) = told(cluster, us, "config", "diff", key)["differences"]
    assert change == {"pointer": "/rate", "before": 100, "after": 250}
    stale = primacy(cluster, us, "config", "set", key, "rate: 1", "--if-version", "1")
    assert stale.exit_code == 1 and "version 2" in stale.stderr
    bad = primacy(cluster, us, "config", "set", "../up.yaml", "rate: 1")
    assert bad.exit_code == 2 and "key: must be" in bad.stderr
    assert f"{key} version 3" in done(cluster, us, "config", "rollback", key, "--yes", "--wait", "30s")
    assert done(cluster, eu, "config", "get", key) == "rate: 100\n"
    assert [one["version"] for one in told(cluster, eu, "config", "history", key)["configs"]] == ["3", "2", "1"]
    done(cluster, us, "config", "remove", key, "--yes", "--wait", "30s")
    assert primacy(cluster, eu, "config", "get", key).exit_code == 1
    assert f"{key} version 5" in done(cluster, us, "config", "rollback", key, "1", "--yes", "--wait", "30s")
    assert key in done(cluster, eu, "config", "list")


def test_a_watch_tells_changes_until_ctrl_c(cluster: Cluster, us: AgentProcess, folder: Path) -> None:
    out = folder / "watched"
    command = ["env", "--default-signal=INT", sys.executable, "-m", "primacy_cli.main", *words_of(cluster, us)]
    watches = {
        ("config", "watch", "watched.yaml"): "# watched.yaml: version ",
        ("log", "watch"): "watched.yaml version ",
        ("replication", "--watch"): "us-east: keeps up",
    }
    for words, line in watches.items():

        def is_told(line: str = line) -> bool:
            """Writes again each time, for nobody knows when a watch has begun."""
            done(cluster, us, "config", "set", "watched.yaml", f"at: {time.time_ns()}")
            return line in out.read_text()

        with out.open("wb") as file:
            process = subprocess.Popen([*command, *words], stdout=file, stderr=subprocess.STDOUT)
        try:
            until(is_told, f"{words} says it", 30)
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0, out.read_text()
        finally:
            process.kill()
            process.wait()


# ---- conflicts and the log


def test_a_conflict_is_shown_and_decided(cluster: Cluster, us: AgentProcess, folder: Path) -> None:
    first = told(cluster, us, "config", "set", MANUAL, "rate: 100\nburst: 5\n", "--wait", "30s")["appended"]
    done(cluster, us, "config", "set", MANUAL, "rate: 200\nburst: 5\n", "--wait", "30s")
    met = write_unknowing(cluster, MANUAL, "rate: 300\nburst: 7\n", int(first["sequence"]))
    assert met.outcome == log.APPEND_OUTCOME_OPEN
    listed = done(cluster, us, "conflict", "list", "--state", "open", "--key", MANUAL)
    assert met.conflict_id in listed and "eu-west/agent-1" in listed
    assert "1 conflict to decide" in done(cluster, us, "replication")
    rows = {
        line.split()[0]: line.split()[1:]
        for line in done(cluster, us, "conflict", "show", met.conflict_id).splitlines()
        if line.startswith("/")
    }
    assert rows == {"/rate": ["100", "200", "300", "both"], "/burst": ["5", "5", "7", "incoming"]}
    mine = folder / "mine.yaml"
    mine.write_text(done(cluster, us, "conflict", "show", met.conflict_id, "--side", "incoming").replace("300", "250"))
    asked = primacy(cluster, us, "conflict", "resolve", met.conflict_id, "--content", f"@{mine}")
    assert asked.exit_code == 2 and "+rate: 250" in asked.stderr
    stale = ("--take", "incoming", "--yes", "--if-version", "1")
    assert primacy(cluster, us, "conflict", "resolve", met.conflict_id, *stale).exit_code == 1
    decided = done(
        cluster, us, "conflict", "resolve", met.conflict_id, "--content", f"@{mine}", "--reason", "agreed", "--yes"
    )
    assert f"{met.conflict_id} is decided for {MANUAL}: entry" in decided
    until(lambda: done(cluster, us, "config", "get", MANUAL) == "rate: 250\nburst: 7\n", "it is in force")
    assert told(cluster, us, "conflict", "list", "--state", "open", "--key", MANUAL)["conflicts"] == []
    assert primacy(cluster, us, "conflict", "show", "cf-999").exit_code == 1


def test_a_person_at_a_terminal_sees_colours_and_is_asked(cluster: Cluster, us: AgentProcess, folder: Path) -> None:
    key = "by-hand/terminal.yaml"
    first = told(cluster, us, "config", "set", key, "rate: 100\n", "--wait", "30s")["appended"]
    done(cluster, us, "config", "set", key, "rate: 200\n", "--wait", "30s")
    met = write_unknowing(cluster, key, "rate: 300\n", int(first["sequence"]))
    assert "\x1b[1;31mboth" in on_terminal(cluster, us, "conflict", "show", met.conflict_id)
    assert "\x1b[32m+rate: 200" in on_terminal(cluster, us, "config", "diff", key)
    assert "\x1b" not in done(cluster, us, "conflict", "show", met.conflict_id)
    seen = on_terminal(cluster, us, "conflict", "resolve", met.conflict_id, "--take", "incoming", says="y\n")
    assert "-rate: 200" in seen and "Decide" in seen and "is decided" in seen
    model = folder / "seen.bin"
    model.write_bytes(WEIGHTS)
    seen = on_terminal(cluster, us, "model", "push", "seen", str(model), "--wait", "60s")
    assert "seen version 1 is entry" in seen and "\x1b[?25l" in seen


def test_merged_writes_name_their_conflict(cluster: Cluster, us: AgentProcess, eu: AgentProcess) -> None:
    first = told(cluster, us, "config", "set", MERGED, "a: 1\nb: 1\n", "--wait", "30s")["appended"]
    done(cluster, us, "config", "set", MERGED, "a: 2\nb: 1\n", "--wait", "30s")
    met = write_unknowing(cluster, MERGED, "a: 1\nb: 2\n", int(first["sequence"]))
    assert met.outcome == log.APPEND_OUTCOME_MERGED
    until(lambda: done(cluster, eu, "config", "get", MERGED) == "a: 2\nb: 2\n", "both are in force")
    text = done(cluster, us, "log", "show", str(met.sequence))
    assert f"primacy conflict show {met.conflict_id}" in text and text.endswith("a: 2\nb: 2\n")
    assert "MERGE" in done(cluster, us, "conflict", "show", met.conflict_id)
    until(lambda: "us-east" in (t := done(cluster, us, "log", "show", str(met.sequence))) and t.count("applied") == 3,
          "all regions have it")  # fmt: skip
    assert MERGED in done(cluster, us, "log", "list", "--kind", "config", "-o", "wide")
    head = int(told(cluster, us, "replication")["head"])
    assert primacy(cluster, us, "log", "show", str(head + 1_000)).exit_code == 1


# ---- what is gone


def test_regions_and_coordinators_that_are_gone(cluster: Cluster, us: AgentProcess) -> None:
    """The last one: it leaves the group without a coordinator."""
    cluster.of("ap-south")[0].kill()

    def rows() -> dict[str, list[str]]:
        return {line.split()[0]: line.split()[1:] for line in done(cluster, us, "replication").splitlines() if line}

    until(lambda: rows()["ap-south"] == [*["-"] * 5, "not", "heard"], "ap is not heard", 30)
    result = primacy(cluster, us, "config", "set", "late.yaml", "a: 1", "--wait", "0.5s")
    assert result.exit_code == 4 and "ap-south is not heard" in result.stderr
    cluster.coordinator.kill()
    assert primacy(cluster, us, "replication").exit_code == 3
    assert done(cluster, us, "config", "get", "late.yaml") == "a: 1\n"
    queued = done(cluster, us, "config", "set", "late.yaml", "a: 2")
    assert "waits on the agent's disk" in queued
    assert done(cluster, us, "config", "get", "late.yaml") == "a: 2\n"
    assert "waits to be submitted" in done(cluster, us, "config", "history", "late.yaml")
    assert primacy(cluster, us, "config", "set", "late.yaml", "a: 3", "--if-version", "1").exit_code != 0
    assert primacy(cluster, us, "config", "set", "late.yaml", "a: 3", "--wait").exit_code == 3
    us.kill()
    gone = primacy(cluster, us, "config", "get", "late.yaml")
    assert gone.exit_code == 3 and "the agent at" in gone.stderr
