"""Conflicts by the command line: three versions beside each other, and a decision that replaces only what was shown."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy.v1 import replication_pb2 as pb
from primacy.v1 import replication_service_pb2 as log
from primacy_cli.three_way import Field, fields
from primacy_wire.merging import ABSENT, merge, same

from tests.unit.cli.calls import Run, info, run

KEY = "app/limits.yaml"
BASE = "rate: 100\nburst: 5\nhosts: [a]\nname: shop\n"
CURRENT = "rate: 200\nburst: 5\nhosts: [a, b]\nname: shop\n"
INCOMING = "rate: 300\nburst: 7\nhosts: [a, b]\nname: shop\nnew: true\n"


def entry(agent: str, content: str, sequence: int = 0, **more: Any) -> pb.Entry:
    return pb.Entry(
        id=f"id-{agent}", key=KEY, kind=pb.ENTRY_KIND_CONFIG, agent=agent, origin=agent.partition("/")[0],
        content=content.encode(), size=len(content), format="yaml", sequence=sequence, version=sequence, **more,
    )  # fmt: skip


def conflict(state: str = "OPEN", **more: Any) -> pb.Conflict:
    fields = {
        "base": entry("us/one", BASE, 1),
        "current": entry("us/one", CURRENT, 2, message="sale"),
        "incoming": entry("eu/one", INCOMING),
        "result": 0,
        **more,
    }
    return pb.Conflict(
        id="cf-7", key=KEY, kind=pb.ENTRY_KIND_CONFIG, state=pb.ConflictState.Value(f"CONFLICT_STATE_{state}"),
        cause="CONCURRENT", **fields,
    )  # fmt: skip


def listed(*conflicts: pb.Conflict) -> log.ListConflictsResponse:
    return log.ListConflictsResponse(conflicts=conflicts)


def shown(*words: str, found: pb.Conflict | None = None) -> str:
    with Run("conflict", "show", "cf-7", *words) as running:
        asked = running.answer("ReplicationService/ListConflicts", listed(found or conflict()))
        result = running.result()
    assert result.exit_code == 0, result.stderr
    assert asked.id == "cf-7" and asked.with_content
    return result.stdout


# ---- list and show


def test_list_asks_for_a_state_and_a_key() -> None:
    with Run("conflict", "list", "--state", "open", "--key", KEY) as running:
        asked = running.answer("ReplicationService/ListConflicts", listed(conflict()))
        lines = running.result().stdout.splitlines()
    assert (asked.state, asked.key) == (pb.CONFLICT_STATE_OPEN, KEY)
    assert lines[1].split()[:4] == ["cf-7", KEY, "OPEN", "CONCURRENT"]
    assert "us/one" in lines[1] and "eu/one" in lines[1]
    with Run("conflict", "list") as running:
        running.answer("ReplicationService/ListConflicts", listed())
        assert running.result().stdout == "No conflict.\n"


def test_show_has_a_line_for_each_field_that_differs_and_who_changed_it() -> None:
    rows = {line.split()[0]: line.split()[1:] for line in shown().splitlines() if line.startswith("/")}
    assert rows == {
        "/rate": ["100", "200", "300", "both"],
        "/burst": ["5", "5", "7", "incoming"],
        "/hosts": ['["a"]', '["a",', '"b"]', '["a",', '"b"]', "alike"],
        "/new": ["-", "-", "true", "incoming"],
    }


def test_show_says_how_to_decide_what_is_open_and_only_that() -> None:
    text = shown()
    assert "primacy conflict resolve cf-7 --take current" in text
    assert "the current version stays in force meanwhile" in text and ": sale" in text
    decided = conflict("RESOLVED", decided_by="MERGE", result=9, clashes=["/rate"])
    decided.decide_time.FromSeconds(1)
    text = shown(found=decided)
    assert "resolve" not in text and "MERGE" in text and "entry 9 of the log" in text
    assert "clashes" in text
    assert "the second write was refused" in shown(found=conflict("REJECTED"))


def test_show_cuts_long_values_unless_it_is_wide() -> None:
    long = conflict(incoming=entry("eu/one", f"rate: {'x' * 200}\n"))
    assert "x" * 200 not in shown(found=long) and "…" in shown(found=long)
    assert "x" * 200 in shown("-o", "wide", found=long)


def test_show_tells_texts_when_asked_or_when_they_are_no_documents() -> None:
    for text in (shown("--text"), shown(found=conflict(incoming=entry("eu/one", INCOMING + "[")))):
        lines = text.splitlines()
        assert lines.index("--- base") < lines.index("+++ current") < lines.index("+++ incoming")
        assert "-rate: 100" in lines and "+rate: 200" in lines and "+rate: 300" in lines
    without = conflict()
    without.ClearField("base")
    lines = shown("--text", found=without).splitlines()
    assert "--- current" in lines and "+++ incoming" in lines


def test_a_side_that_removes_the_key_has_nothing() -> None:
    removed = entry("eu/one", "", removed=True)
    text = shown(found=conflict(incoming=removed))
    assert "(all of it)" in text and "removes it" in text
    assert "incoming removes" in shown("--text", found=conflict(incoming=removed))


def test_a_conflict_without_a_base_shows_what_both_wrote() -> None:
    without = conflict()
    without.ClearField("base")
    rows = {line.split()[0]: line.split()[1] for line in shown(found=without).splitlines() if line.startswith("/")}
    assert rows["/rate"] == "-" and rows["/name"] == "-"


def test_one_side_is_printed_as_it_was_written() -> None:
    assert shown("--side", "incoming") == INCOMING
    assert shown("--side", "base") == BASE
    without = conflict(incoming=entry("eu/one", "", removed=True))
    without.ClearField("base")
    for side in ("base", "incoming"):
        with Run("conflict", "show", "cf-7", "--side", side) as running:
            running.answer("ReplicationService/ListConflicts", listed(without))
            result = running.result()
        assert (result.exit_code, result.stdout) == (1, "")


def test_show_for_programs_is_the_conflict_itself() -> None:
    assert json.loads(shown("-o", "json"))["incoming"]["agent"] == "eu/one"


def test_a_conflict_that_is_not_there() -> None:
    with Run("conflict", "show", "cf-9") as running:
        running.answer("ReplicationService/ListConflicts", listed())
        result = running.result()
    assert result.exit_code == 1 and "'cf-9'" in result.stderr


# ---- what differs

VALUES = st.recursive(
    st.sampled_from([None, True, 1, 1.0, "a"]),
    lambda below: st.dictionaries(st.sampled_from(["a", "b", "c/d"]), below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=8,
)


@given(VALUES, VALUES, VALUES)
def test_what_both_changed_is_what_a_merge_calls_a_clash(base: Any, current: Any, incoming: Any) -> None:
    found = list(fields(base, current, incoming))
    clashes = {field.pointer for field in found if field.changed_by == "both"}
    assert clashes == set(merge(base, current, incoming, second_wins=True).clashes)
    assert bool(found) == (not (same(base, current) and same(base, incoming)))


def test_a_change_is_of_the_one_who_made_it() -> None:
    made = {
        ("a", "b", "a"): "current",
        ("a", "a", "b"): "incoming",
        ("a", "b", "b"): "alike",
        ("a", "b", "c"): "both",
        (ABSENT, "b", "c"): "both",
    }
    for (base, current, incoming), who in made.items():
        assert Field("/x", base, current, incoming).changed_by == who
    for nothing in (1, ABSENT):
        assert [field.changed_by for field in fields(nothing, {}, {})] == ["alike"]


# ---- resolve


def test_resolve_takes_a_side() -> None:
    decided = log.ResolveConflictResponse(conflict=conflict("RESOLVED"), sequence=12)
    for take in ("current", "incoming"):
        with Run("conflict", "resolve", "cf-7", "--take", take, "--reason", "agreed", "--yes") as running:
            asked = running.answer("ReplicationService/ResolveConflict", decided)
            result = running.result()
        assert asked.WhichOneof("decision") == f"take_{take}" and getattr(asked, f"take_{take}") is True
        assert (asked.reason, asked.HasField("if_version")) == ("agreed", False)
        assert "@" in asked.owner
        assert result.stdout == f"cf-7 is decided for {KEY}: entry 12 of the log\n"


def test_resolve_by_a_document_of_ones_own() -> None:
    stays = log.ResolveConflictResponse(conflict=conflict("RESOLVED"), sequence=0)
    with Run(
        "conflict", "resolve", "cf-7", "--content", "-", "--yes", "--if-version", "2", stdin=b"rate: 250"
    ) as running:
        asked = running.answer("ReplicationService/ResolveConflict", stays)
        result = running.result()
    assert (asked.content, asked.if_version) == (b"rate: 250", 2)
    assert "the version in force stays" in result.stdout


def test_resolve_shows_what_changes_in_force_and_asks() -> None:
    """What is in force may be newer than both sides of the conflict."""
    now = log.ListEntriesResponse(entries=[entry("us/two", "rate: 400\n", 9)])
    with Run("conflict", "resolve", "cf-7", "--take", "incoming") as running:
        running.answer("ReplicationService/ListConflicts", listed(conflict()))
        asked = running.answer("ReplicationService/ListEntries", now)
        result = running.result()
    assert (asked.key, asked.kind, asked.page_size) == (KEY, pb.ENTRY_KIND_CONFIG, 1)
    assert result.exit_code == 2 and "--yes" in result.stderr
    assert "-rate: 400" in result.stderr and "+rate: 300" in result.stderr


def test_resolve_replaces_only_what_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("primacy_cli.session.Session.confirm", lambda _self, _question: None)
    now = log.ListEntriesResponse(entries=[entry("us/two", "rate: 400\n", 9)])
    with Run("conflict", "resolve", "cf-7", "--take", "current") as running:
        running.answer("ReplicationService/ListConflicts", listed(conflict()))
        running.answer("ReplicationService/ListEntries", now)
        asked = running.fail(
            "ReplicationService/ResolveConflict", grpc.StatusCode.ABORTED, "at version 10", [info("VERSION_MISMATCH")]
        )
        assert running.result().exit_code == 1
    assert asked.if_version == 9


@pytest.mark.parametrize("words", [(), ("--take", "incoming", "--content", "a: 1")])
def test_resolve_needs_one_decision(words: tuple[str, ...]) -> None:
    assert run("conflict", "resolve", "cf-7", *words).exit_code == 2
