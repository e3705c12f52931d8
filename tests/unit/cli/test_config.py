"""Documents by the command line: written, compared, edited and rolled back, without losing what anybody typed."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import replication_service_pb2 as log
from primacy_cli.given import format_for

from tests.unit.cli.calls import Run, bad, info, run

LOCAL = "primacy.agent.v1.LocalService"
KEY = "app/limits.yaml"


def document(version: int, text: str = "rate: 100\n", **more: object) -> pb.Config:
    return pb.Config(
        key=KEY, content=text.encode(), format="yaml", version=version, sequence=version + 10, origin="us",
        agent="us/one", digest=f"{hash(text):x}", **more,  # type: ignore[arg-type]
    )  # fmt: skip


def written(
    version: int = 4, outcome: str = "APPENDED", conflict: str = "", at_risk: bool = False
) -> pb.PutConfigResponse:
    appended = log.AppendResponse(
        sequence=version + 10,
        version=version,
        outcome=log.AppendOutcome.Value(f"APPEND_OUTCOME_{outcome}"),
        conflict_id=conflict,
        at_risk=at_risk,
    )
    return pb.PutConfigResponse(config=document(version), appended=appended, queued=False)


def found(config: pb.Config) -> pb.GetConfigResponse:
    return pb.GetConfigResponse(config=config)


def versions(*configs: pb.Config) -> pb.ListConfigsResponse:
    """As an agent lists them: the newest first, without content."""
    listed = pb.ListConfigsResponse()
    for each in configs:
        listed.configs.add().CopyFrom(each)
        listed.configs[-1].content = b""
    return listed


# ---- set


def test_set_sends_the_text_itself_to_the_agent() -> None:
    with Run("config", "set", KEY, "rate: 100", "-m", "for the sale", "--agent", "host:1") as running:
        asked = running.answer(f"{LOCAL}/PutConfig", written())
        result = running.result()
    assert (asked.key, asked.content, asked.format, asked.message) == (KEY, b"rate: 100", "yaml", "for the sale")
    assert asked.id and not asked.HasField("if_version")
    assert running.addresses == ["host:1"]
    assert result.stdout == f"{KEY} version 4, entry 14 of the log\n"


def test_the_agent_beside_is_asked_when_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIMACY_AGENT", raising=False)
    with Run("config", "list") as running:
        running.answer(f"{LOCAL}/ListConfigs", pb.ListConfigsResponse())
        assert "no document yet" in running.result().stdout
    assert running.addresses == ["127.0.0.1:7410"]


@pytest.mark.parametrize(
    ("key", "name", "form"),
    [("a", "x.json", "json"), ("a.yml", "x.json", "yaml"), ("a.json", "x", "json"), ("a/b.c", "x.txt", "yaml")],
)
def test_the_form_is_that_of_the_key_or_else_of_the_file(key: str, name: str, form: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text('{"rate": 1}')
    with Run("config", "set", key, f"@{file}") as running:
        asked = running.answer(f"{LOCAL}/PutConfig", written())
        assert running.result().exit_code == 0
    assert (asked.format, asked.content) == (form, b'{"rate": 1}')
    assert format_for(key, f"@{file}", "json") == "json"


def test_standard_input_is_a_document_too() -> None:
    with Run("config", "set", "a.json", "-", "--if-version", "0", "--durability", "local", stdin=b"[1]") as running:
        asked = running.answer(f"{LOCAL}/PutConfig", written())
        assert running.result().exit_code == 0
    assert (asked.content, asked.if_version, asked.durability) == (b"[1]", 0, 2)


def test_what_is_no_document_is_named_with_its_line_and_nobody_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("rate: 1\nburst: 2\nrate: 3\n")
    result = run("config", "set", KEY, f"@{file}")
    assert result.exit_code == 2
    assert f"{file}:3" in result.stderr and "rate: given twice" in result.stderr
    assert run("config", "set", KEY, f"@{tmp_path / 'absent'}").exit_code == 2


def test_a_document_that_is_far_too_large_is_not_even_read(tmp_path: Path) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as out:
        out.truncate(1 << 40)  # More than could be read.
    result = run("config", "set", KEY, f"@{file}")
    assert result.exit_code == 2
    assert "larger than 1,048,576 bytes" in result.stderr


def test_a_write_that_waits_at_the_agent_says_so() -> None:
    queued = pb.PutConfigResponse(config=document(0, queued=True), queued=True)
    with Run("config", "set", KEY, "rate: 1") as running:
        running.answer(f"{LOCAL}/PutConfig", queued)
        result = running.result()
    assert result.exit_code == 0 and "waits on the agent's disk" in result.stdout
    with Run("config", "set", KEY, "rate: 1", "--wait") as running:
        running.answer(f"{LOCAL}/PutConfig", queued)
        result = running.result()
    assert result.exit_code == 3 and "no coordinator is heard" in result.stderr


@pytest.mark.parametrize("outcome", ["LOST", "OPEN"])
def test_a_write_that_is_not_in_force_is_no_success(outcome: str) -> None:
    with Run("config", "set", KEY, "rate: 1") as running:
        running.answer(f"{LOCAL}/PutConfig", written(0, outcome, "cf-3"))
        result = running.result()
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stays as it was" in result.stderr and "next: primacy conflict show cf-3" in result.stderr
    with Run("config", "set", KEY, "rate: 1", "-o", "json") as running:
        running.answer(f"{LOCAL}/PutConfig", written(0, outcome, "cf-3"))
        result = running.result()
    assert result.exit_code == 1
    assert json.loads(result.stdout)["appended"]["conflictId"] == "cf-3"


@pytest.mark.parametrize(("outcome", "word"), [("WON", "won over"), ("MERGED", "merged with")])
def test_a_write_that_met_another_names_the_conflict(outcome: str, word: str) -> None:
    with Run("config", "set", KEY, "rate: 1") as running:
        running.answer(f"{LOCAL}/PutConfig", written(5, outcome, "cf-3", at_risk=True))
        result = running.result()
    assert result.exit_code == 0
    assert word in result.stdout and "primacy conflict show cf-3" in result.stdout
    assert "one region alone has it" in result.stdout


def test_a_write_at_risk_can_be_repeated_as_the_same_one() -> None:
    with Run("config", "set", KEY, "rate: 1", "--id", "mine") as running:
        asked = running.fail(
            f"{LOCAL}/PutConfig", grpc.StatusCode.UNAVAILABLE, "no second region is heard", [info("AT_RISK")]
        )
        result = running.result()
    assert asked.id == "mine"
    assert result.exit_code == 1
    assert "--id mine" in result.stderr


def test_a_refusal_names_what_to_do_next() -> None:
    with Run("config", "set", KEY, "rate: 1", "--if-version", "3") as running:
        running.fail(
            f"{LOCAL}/PutConfig", grpc.StatusCode.ABORTED, "it is at version 4, not 3", [info("VERSION_MISMATCH")]
        )
        result = running.result()
    assert result.exit_code == 1 and "primacy config history" in result.stderr
    with Run("config", "set", "../up", "rate: 1") as running:
        running.fail(f"{LOCAL}/PutConfig", grpc.StatusCode.INVALID_ARGUMENT, "bad", [bad(key="must be parts")])
        result = running.result()
    assert result.exit_code == 2 and "key: must be parts" in result.stderr
    with Run("config", "get", KEY, "--agent", "host:1") as running:
        running.fail(f"{LOCAL}/GetConfig", grpc.StatusCode.UNAVAILABLE, "connection refused")
        result = running.result()
    assert result.exit_code == 3 and "the agent at host:1 cannot be reached" in result.stderr


# ---- get, list, history


def test_get_prints_what_set_takes() -> None:
    with Run("config", "get", KEY, "--version", "3") as running:
        asked = running.answer(f"{LOCAL}/GetConfig", found(document(3, "rate: 100\n# é\n")))
        assert running.result().stdout == "rate: 100\n# é\n"
    assert (asked.key, asked.version) == (KEY, 3)
    with Run("config", "get", KEY) as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(0, "rate: 1", queued=True)))
        result = running.result()
    assert result.stdout == "rate: 1\n" and "waits at the agent" in result.stderr
    with Run("config", "get", KEY, "--version", "2") as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(2, "", removed=True)))
        result = running.result()
    assert (result.exit_code, result.stdout) == (1, "")


def test_history_tells_what_each_version_is() -> None:
    listed = versions(document(0, queued=True), document(3, "", removed=True), document(2, conflict_id="cf-1"))
    with Run("config", "history", KEY, "-o", "wide") as running:
        assert running.answer(f"{LOCAL}/ListConfigs", listed).key == KEY
        lines = running.result().stdout.splitlines()
    assert "waits to be submitted" in lines[1] and "removed" in lines[2] and "conflict cf-1" in lines[3]
    assert lines[3].split()[1] == "2" and "us/one" in lines[3]


# ---- diff


def test_diff_compares_the_version_in_force_with_the_one_before() -> None:
    with Run("config", "diff", KEY) as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(4, "rate: 200\n")))
        running.answer(f"{LOCAL}/ListConfigs", versions(document(4), document(2), document(1)))
        assert running.answer(f"{LOCAL}/GetConfig", found(document(2, "rate: 100\n"))).version == 2
        result = running.result()
    assert result.stdout.splitlines()[:2] == [f"--- {KEY}@2", f"+++ {KEY}@4"]
    assert "-rate: 100" in result.stdout and "+rate: 200" in result.stdout
    assert "\x1b" not in result.stdout


def test_diff_with_a_file_shows_what_set_would_change(tmp_path: Path) -> None:
    file = tmp_path / "limits.yaml"
    file.write_text("rate: 100\nburst: {all: 5}\n")
    with Run("config", "diff", KEY, f"@{file}", "-o", "json") as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(4, "rate: 1\nold: true\nburst: {all: 5}\n")))
        told = json.loads(running.result().stdout)
    assert told["differences"] == [
        {"pointer": "/rate", "before": 1, "after": 100},
        {"pointer": "/old", "before": True},
    ]
    assert (told["from"], told["to"]) == (f"{KEY}@4", str(file))
    assert run("config", "diff", KEY, f"@{file}", "--to", "3").exit_code == 2


def test_diff_of_a_first_version_has_nothing_to_compare() -> None:
    with Run("config", "diff", KEY) as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(1)))
        running.answer(f"{LOCAL}/ListConfigs", versions(document(1)))
        assert running.result().exit_code == 1


# ---- edit


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where editors keep their files."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def editor(monkeypatch: pytest.MonkeyPatch, folder: Path, lines: str) -> None:
    """An editor that does this with the file `$1`."""
    program = folder / "editor"
    program.write_text(f"#!/bin/sh\n{lines}\n")
    program.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(program))


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob("primacy-*/*"))


def test_edit_writes_only_over_what_was_read(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, kept, 'sed -i s/100/250/ "$1"')
    with Run("config", "edit", KEY, "-m", "more") as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(document(4)))
        running.answer(f"{LOCAL}/GetConfig", found(document(4)))
        asked = running.answer(f"{LOCAL}/PutConfig", written(5))
        assert running.result().exit_code == 0
    assert (asked.content, asked.if_version, asked.message) == (b"rate: 250\n", 4, "more")
    assert not leftovers(kept)


def test_edit_that_changes_nothing_writes_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, kept, ":")
    with Run("config", "edit", KEY) as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(document(4)))
        running.answer(f"{LOCAL}/GetConfig", found(document(4)))
        result = running.result()
    assert result.exit_code == 0 and "nothing was changed" in result.stderr
    assert not leftovers(kept)


def test_edit_of_a_key_that_is_not_there_makes_it(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor(monkeypatch, kept, 'echo "[1]" >"$1"')
    with Run("config", "edit", "new.json") as running:
        running.fail(f"{LOCAL}/ListConfigs", grpc.StatusCode.NOT_FOUND, "no config", [info("CONFIG_NOT_FOUND")])
        asked = running.answer(f"{LOCAL}/PutConfig", written(1))
        assert running.result().exit_code == 0
    assert (asked.key, asked.format, asked.content, asked.if_version) == ("new.json", "json", b"[1]\n", 0)


@pytest.mark.parametrize("text", ["rate: 250", "rate: [250"])
def test_edit_never_loses_what_was_typed(text: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else was quicker; or it is no document."""
    editor(monkeypatch, kept, f'echo "{text}" >"$1"')
    with Run("config", "edit", KEY) as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(document(4)))
        running.answer(f"{LOCAL}/GetConfig", found(document(4)))
        if "[" not in text:
            running.fail(f"{LOCAL}/PutConfig", grpc.StatusCode.ABORTED, "at version 5", [info("VERSION_MISMATCH")])
        result = running.result()
    assert result.exit_code in (1, 2)
    (file,) = leftovers(kept)
    assert file.read_text() == f"{text}\n"
    assert f"primacy config set {KEY} @{file}" in result.stderr


def test_an_editor_that_does_not_work_is_named(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "/nowhere/edit")
    with Run("config", "edit", KEY) as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(document(4)))
        running.answer(f"{LOCAL}/GetConfig", found(document(4)))
        result = running.result()
    assert result.exit_code == 1 and "/nowhere/edit" in result.stderr
    assert not leftovers(kept)


# ---- rollback and remove


def test_rollback_takes_the_last_version_that_says_something_else() -> None:
    now, same = document(5, "rate: 200\n"), document(4, "rate: 200\n")
    with Run("config", "rollback", KEY, "--yes") as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(now))
        running.answer(f"{LOCAL}/GetConfig", found(now))
        running.answer(
            f"{LOCAL}/ListConfigs", versions(now, same, document(3, "", removed=True), document(2), document(1, "a: 1"))
        )
        assert running.answer(f"{LOCAL}/GetConfig", found(document(2))).version == 2
        asked = running.answer(f"{LOCAL}/PutConfig", written(6))
        assert running.result().exit_code == 0
    assert (asked.content, asked.if_version, asked.message) == (b"rate: 100\n", 5, "rollback to version 2")


def test_rollback_shows_what_changes_and_asks() -> None:
    with Run("config", "rollback", KEY, "2") as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(document(5)))
        running.answer(f"{LOCAL}/GetConfig", found(document(5, "rate: 200\n")))
        running.answer(f"{LOCAL}/GetConfig", found(document(2)))
        result = running.result()
    assert result.exit_code == 2 and result.stdout == ""
    assert "+rate: 100" in result.stderr and "--yes" in result.stderr


def test_a_removed_key_comes_back_by_a_rollback() -> None:
    gone = document(3, "", removed=True)
    with Run("config", "rollback", KEY, "2", "--yes") as running:
        running.answer(f"{LOCAL}/ListConfigs", versions(gone, document(2)))
        running.answer(f"{LOCAL}/GetConfig", found(document(2)))
        asked = running.answer(f"{LOCAL}/PutConfig", written(4))
        assert running.result().exit_code == 0
    assert asked.if_version == 3


def test_remove_asks_unless_told_not_to() -> None:
    with Run("config", "remove", KEY) as running:
        running.answer(f"{LOCAL}/GetConfig", found(document(4)))
        result = running.result()
    assert result.exit_code == 2 and "nothing was changed" in result.stderr
    with Run("config", "remove", KEY, "--yes") as running:
        asked = running.answer(f"{LOCAL}/PutConfig", written(5))
        result = running.result()
    assert asked.remove and not asked.content
    assert re.match(rf"removed: {KEY} version 5", result.stdout)


# ---- watch


def test_a_watch_that_begins_anew_tells_nothing_twice() -> None:
    first, second = document(1, "rate: 1\n"), document(2, "rate: 2\n")
    with Run("config", "watch", KEY) as running:
        asked = running.stream(f"{LOCAL}/WatchConfig", [pb.WatchConfigResponse(config=first)])
        running.stream(
            f"{LOCAL}/WatchConfig", [pb.WatchConfigResponse(config=first), pb.WatchConfigResponse(config=second)]
        )
        running.answer_end(f"{LOCAL}/WatchConfig", grpc.StatusCode.NOT_FOUND)
        result = running.result()
    assert asked.key == KEY and result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"# {KEY}: version 1, by us",
        "rate: 1",
        f"# {KEY}: version 2, by us",
        "rate: 2",
    ]
    assert "the agent at" in result.stderr and "is gone" in result.stderr
