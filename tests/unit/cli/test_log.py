"""The log by the command line: what was written, how far each region has come, and what is tried again."""

from __future__ import annotations

import io
import json
import re

import grpc
import pytest
from primacy.v1 import replication_pb2 as pb
from primacy.v1 import replication_service_pb2 as log
from primacy_cli.replication_table import replication_screen, state_lines
from primacy_cli.words import plural
from rich.console import Console

from tests.unit.cli.calls import Run, info, run

STATUS = "ReplicationService/GetReplicationStatus"


def entry(sequence: int, **more: object) -> pb.Entry:
    fields = {"kind": pb.ENTRY_KIND_CONFIG, "key": "a.yaml", "agent": "us/one", "origin": "us", "size": 5, **more}
    return pb.Entry(sequence=sequence, version=sequence, id=f"id-{sequence}", **fields)  # type: ignore[arg-type]


def status(**more: object) -> log.GetReplicationStatusResponse:
    found = log.GetReplicationStatusResponse(group="default", head=20, **more)  # type: ignore[arg-type]
    found.regions.add(region="ap", heard=False)
    eu = found.regions.add(region="eu", heard=True, settled=17, lag_entries=4, lag_bytes=3000, missing_models=["bert"])
    eu.lag_age.FromSeconds(12)
    eu.parked.add(sequence=15, key="bert", reason="the disk is full", attempts=5, agent="eu/one")
    found.regions.add(region="us", heard=True, settled=20, lag_entries=0, lag_bytes=0, uplink=9_000_000)
    return found


# ---- log


def test_list_follows_pages_and_ends_with_the_newest() -> None:
    with Run("log", "list", "--limit", "300", "--kind", "model", "--key", "bert") as running:
        first = running.answer(
            "ReplicationService/ListEntries",
            log.ListEntriesResponse(entries=[entry(n) for n in range(300, 100, -1)], next_page_token="t"),
        )
        second = running.answer(
            "ReplicationService/ListEntries",
            log.ListEntriesResponse(entries=[entry(n) for n in range(100, 0, -1)]),
        )
        lines = running.result().stdout.splitlines()
    assert (first.kind, first.key, second.page_token) == (pb.ENTRY_KIND_MODEL, "bert", "t")
    assert [int(line.split()[0]) for line in lines[1:]] == list(range(1, 301))
    with Run("log") as running:
        assert running.answer("ReplicationService/ListEntries", log.ListEntriesResponse()).page_size == 20
        assert running.result().stdout == "No such entry.\n"


def test_show_tells_which_region_has_it_and_the_document() -> None:
    batch = log.WatchEntriesResponse(
        entries=[entry(15, content=b"rate: 1", message="sale", safety=pb.ENTRY_SAFETY_AT_RISK), entry(16)], head=20
    )
    with Run("log", "show", "15") as running:
        asked = running.stream("ReplicationService/WatchEntries", [batch])
        running.answer(STATUS, status())
        text = running.result().stdout
    assert (asked.from_sequence, asked.with_content) == (15, True)
    lines = text.splitlines()
    assert "ap      not heard" in lines and "us      applied" in lines
    assert "eu      parked after 5 tries: the disk is full" in lines
    assert "one region alone has it" in text and "sale" in text
    assert lines[-1] == "rate: 1"
    with Run("log", "show", "18", "-o", "json") as running:
        running.stream("ReplicationService/WatchEntries", [log.WatchEntriesResponse(entries=[entry(18)], head=20)])
        assert json.loads(running.result().stdout)["sequence"] == "18"


def test_show_of_what_is_not_kept_or_not_yet_there() -> None:
    for batch in (log.WatchEntriesResponse(entries=[entry(16)], head=20), log.WatchEntriesResponse(head=20)):
        with Run("log", "show", "15") as running:
            running.stream("ReplicationService/WatchEntries", [batch])
            result = running.result()
        assert result.exit_code == 1 and "entry 15" in result.stderr


def test_watch_goes_on_behind_what_it_has_shown() -> None:
    with Run("log", "watch", "--from", "3") as running:
        first = running.stream(
            "ReplicationService/WatchEntries", [log.WatchEntriesResponse(entries=[entry(3), entry(5)], head=6)]
        )
        second = running.stream(
            "ReplicationService/WatchEntries", [log.WatchEntriesResponse(entries=[entry(8, removed=True)], head=8)]
        )
        running.answer_end("ReplicationService/WatchEntries", grpc.StatusCode.NOT_FOUND)
        result = running.result()
    assert (first.from_sequence, second.from_sequence) == (3, 7)
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["3", "5", "8"]
    assert "removed" in result.stdout.splitlines()[-1]


# ---- replication


def screen(found: log.GetReplicationStatusResponse, wide: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(replication_screen(found, wide))
    return out.getvalue()


def test_a_region_that_is_not_heard_has_no_figures() -> None:
    rows = {line.split()[0]: line.split() for line in screen(status(), wide=True).splitlines() if line.strip()}
    assert rows["ap"] == ["ap", *["-"] * 6, "not", "heard"]
    assert rows["eu"] == ["eu", "17", "4", "3", "kB", "12", "s", "1", "-", "lacks", "bert"]
    assert rows["us"] == ["us", "20", "0", "0", "bytes", "-", "-", "9", "MB/s"]


def test_what_is_under_way_is_shown_with_how_much_of_it_came() -> None:
    found = status()
    found.regions[1].transfers.add(sequence=18, key="bert", agent="eu/one", received=450_000_000, size=1_000_000_000)
    lines = screen(found).splitlines()
    [at] = [number for number, line in enumerate(lines) if line.startswith("FETCHING")]
    assert lines[at + 1].split() == ["eu/one", "18", "bert", "450", "MB", "of", "1", "GB", "45%"]
    assert "FETCHING" not in screen(status())


def test_the_screen_names_what_needs_a_person() -> None:
    found = status(stalled=True, open_conflicts=2, at_risk_count=11)
    found.stalled_for.FromSeconds(7)
    for number in range(11):
        found.at_risk.append(entry(number + 1, safety=pb.ENTRY_SAFETY_UNAVAILABLE if number else 0))
    text = screen(found)
    assert "written nothing for 7 s" in text
    assert "2 conflicts to decide" in text and "primacy conflict list --state open" in text
    assert "11 entries in fewer than two regions" in text and "no region that is heard has it" in text
    assert "the disk is full" in text and "primacy retry eu 15" in text
    assert len(re.findall("a.yaml", text)) == 10
    assert len(re.findall("a.yaml", screen(found, wide=True))) == 11
    calm = screen(log.GetReplicationStatusResponse(group="default"))
    assert "the log is empty" in calm and "risk" not in calm and "retry" not in calm


def test_replication_for_programs_is_the_answer() -> None:
    with Run("replication", "-o", "json") as running:
        running.answer(STATUS, status())
        assert [each["region"] for each in json.loads(running.result().stdout)["regions"]] == ["ap", "eu", "us"]


def test_a_watch_prints_a_line_for_what_is_another_than_before() -> None:
    well = status()
    del well.regions[:2]
    worse = status(open_conflicts=1)
    with Run("replication", "--watch", "--interval", "0.1") as running:
        running.answer(STATUS, well)
        running.answer(STATUS, well)
        running.answer(STATUS, worse)
        running.fail(STATUS, grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer(STATUS, worse)
        running.fail(STATUS, grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    assert result.exit_code == 1
    said = [line.partition("  ")[2] for line in result.stdout.splitlines()]
    assert said[:2] == ["us: keeps up", "1 conflict to decide"]
    assert "eu: behind by 4 entries, parked 15 (bert): the disk is full, lacks bert" in said
    stale = said.index("STALE: the coordinator at 127.0.0.1:7400 cannot be reached")
    assert sorted(said[stale + 1 :]) == sorted([*said[1:stale], "us: keeps up"])


def test_heartbeats_that_just_came_are_no_news() -> None:
    found = log.GetReplicationStatusResponse()
    region = found.regions.add(region="us", heard=True, settled=1, lag_entries=1)
    region.lag_age.FromMilliseconds(40)
    assert state_lines(found) == ["us: keeps up"]


def test_a_watch_for_programs_is_one_document_for_each_look() -> None:
    with Run("replication", "--watch", "--interval", "0.1", "-o", "json") as running:
        running.answer(STATUS, status())
        running.fail(STATUS, grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer(STATUS, status())
        running.fail(STATUS, grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 2
    assert "stale" in result.stderr


# ---- retry


@pytest.mark.parametrize(
    ("words", "region", "sequence"),
    [
        (("eu", "42"), "eu", 42),
        (("eu", "--all"), "eu", 0),
        (("42",), "", 42),
        (("--all",), "", 0),
        (("42", "--region", "eu"), "eu", 42),
        (("7", "42"), "7", 42),
        (("7", "--all"), "7", 0),
    ],
)
def test_retry_names_a_region_an_entry_or_all(words: tuple[str, ...], region: str, sequence: int) -> None:
    with Run("retry", *words) as running:
        asked = running.answer("ReplicationService/RetryEntry", log.RetryEntryResponse(regions=["eu"], entries=3))
        result = running.result()
    assert (asked.region, asked.sequence) == (region, sequence)
    assert "eu will try 3 parked entries again" in result.stdout


@pytest.mark.parametrize(
    "words", [(), ("eu",), ("42", "--all", "eu"), ("eu", "42", "--all"), ("eu", "42", "43"), ("eu", "0"), ("eu", "x"),
              ("eu", "42", "--region", "us")]
)  # fmt: skip
def test_retry_of_what_is_not_said_asks_nobody(words: tuple[str, ...]) -> None:
    assert run("retry", *words).exit_code == 2


def test_retry_of_what_nobody_parked() -> None:
    with Run("retry", "eu", "42") as running:
        running.fail(
            "ReplicationService/RetryEntry", grpc.StatusCode.FAILED_PRECONDITION, "not parked", [info("NOT_PARKED")]
        )
        result = running.result()
    assert result.exit_code == 1 and "next: primacy replication" in result.stderr


def test_numbers_of_things() -> None:
    assert [plural(n, "entry") for n in (0, 1, 2)] == ["0 entries", "1 entry", "2 entries"]
    assert plural(2, "try") == "2 tries" and plural(2, "day") == "2 days"
