"""Models by the command line: pushed, looked at, kept and rolled back."""

from __future__ import annotations

import json
import os

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import replication_service_pb2 as log
from primacy_cli.progress import Lines, pace

from tests.unit.cli.calls import Run, info, run

LOCAL = "primacy.agent.v1.LocalService"
STATUS = "ReplicationService/GetReplicationStatus"


def appended(version: int = 3, sequence: int = 812) -> log.AppendResponse:
    outcome = log.APPEND_OUTCOME_APPENDED
    return log.AppendResponse(sequence=sequence, version=version, outcome=outcome, at_risk=False)


def pushed() -> list[pb.PublishResponse]:
    """What an agent says of a push, from its beginning to its end."""
    size = 6_100_000
    return [
        pb.PublishResponse(stage="reading", bytes_done=0, bytes_total=size, bytes_new=0),
        pb.PublishResponse(stage="reading", bytes_done=size, bytes_total=size, bytes_new=60_000),
        pb.PublishResponse(stage="appending", bytes_done=size, bytes_total=size),
        pb.PublishResponse(
            stage="done", bytes_done=size, bytes_total=size, bytes_new=60_000, digest="ab", appended=appended()
        ),
    ]


def version(number: int, digest: str = "", **more: object) -> pb.ModelVersion:
    fields = {"sequence": 800 + number, "size": 1000, "bytes_here": 1000, "path": f"/m/bert/releases/{number}", **more}
    return pb.ModelVersion(version=number, digest=digest or f"d{number}", origin="us", **fields)  # type: ignore[arg-type]


def models(*versions: pb.ModelVersion, newest: int = 0, current: int = 0) -> pb.ListModelsResponse:
    model = pb.Model(name="bert", newest=newest or versions[0].version, current=current, versions=versions)
    return pb.ListModelsResponse(models=[model], store_bytes=2_000_000, free_bytes=9_000_000_000)


def progress(**settled: int) -> log.GetReplicationStatusResponse:
    """-1: that region is not heard."""
    status = log.GetReplicationStatusResponse(group="default", head=900)
    for name, number in settled.items():
        region = status.regions.add(region=name, heard=number >= 0)
        if number >= 0:
            region.settled = number
    return status


# ---- push


def test_push_tells_each_stage_and_what_became_of_it() -> None:
    with Run("model", "push", "bert", "models/bert", "-m", "better") as running:
        asked = running.stream(f"{LOCAL}/Publish", pushed())
        result = running.result()
    assert (asked.name, asked.path, asked.message) == ("bert", os.path.abspath("models/bert"), "better")
    assert asked.id
    assert result.stdout == "bert version 3 is entry 812 of the log; 6.1 MB, of which 60 kB were new\n"
    assert result.stderr.splitlines() == [
        "reading bert",
        "waiting until the log has it, and as many regions as durability asks for",
    ]


def test_push_for_programs_prints_the_last_answer_alone() -> None:
    with Run("model", "push", "bert", "/m/bert", "-o", "json", "--if-version", "2", "--id", "mine") as running:
        asked = running.stream(f"{LOCAL}/Publish", pushed())
        result = running.result()
    assert (asked.if_version, asked.id) == (2, "mine")
    assert json.loads(result.stdout)["appended"]["version"] == "3"
    assert result.stderr == ""


def test_push_waits_until_the_last_region_has_it() -> None:
    """An agent knows its own group when none is named; a coordinator that is away for a moment is waited for."""
    with Run("model", "push", "bert", "/m/bert", "--wait", "20s") as running:
        running.stream(f"{LOCAL}/Publish", pushed())
        running.answer(f"{LOCAL}/GetStatus", pb.GetStatusResponse(group="payments"))
        assert running.answer(STATUS, progress(ap=811, eu=-1, us=812)).group == "payments"
        running.fail(STATUS, grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer(STATUS, progress(ap=812, eu=-1, us=812))
        running.answer(STATUS, progress(ap=812, eu=900, us=812))
        result = running.result()
    assert result.exit_code == 0
    assert "every region has applied entry 812" in result.stderr


def test_push_names_who_is_behind_when_the_time_is_up() -> None:
    with Run("model", "push", "bert", "/m/bert", "--wait", "0.1s", "--group", "payments") as running:
        running.stream(f"{LOCAL}/Publish", pushed())
        # It looks a last time after the time is up; how often before depends on how busy the machine is.
        running.answer_until_end(STATUS, progress(ap=810, eu=-1, us=812))
        result = running.result()
    assert result.exit_code == 4
    assert "ap lacks 2 entries, eu is not heard" in result.stderr


def test_push_ends_at_once_when_a_region_puts_it_aside() -> None:
    status = progress(eu=812, us=812)
    status.regions[0].parked.add(sequence=812, key="bert", reason="the disk is full", attempts=5, agent="eu/one")
    with Run("model", "push", "bert", "/m/bert", "--wait", "--group", "g") as running:
        running.stream(f"{LOCAL}/Publish", pushed())
        running.answer(STATUS, status)
        result = running.result()
    assert result.exit_code == 1
    assert "eu/one has put entry 812 aside: the disk is full" in result.stderr
    assert "primacy retry eu 812" in result.stderr


def test_a_wait_without_a_time_takes_no_other_word_for_one() -> None:
    result = run("model", "push", "--wait", "bert", "/m/bert")
    assert result.exit_code == 2 and "'bert' is no time" in result.stderr


def test_push_that_the_agent_does_not_end_is_no_success() -> None:
    with Run("model", "push", "bert", "/m/bert", "--id", "mine") as running:
        running.stream(f"{LOCAL}/Publish", pushed()[:2])
        result = running.result()
    assert result.exit_code == 1 and "--id mine" in result.stderr


@pytest.mark.parametrize(
    ("code", "reason", "exit_code", "advice"),
    [
        (grpc.StatusCode.NOT_FOUND, "PATH_NOT_FOUND", 1, "agent's machine"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL", 1, "make room"),
        (grpc.StatusCode.ABORTED, "CHANGED_WHILE_READ", 1, "when nothing writes there"),
        (grpc.StatusCode.FAILED_PRECONDITION, "STALE_EPOCH", 1, "primacy status"),
        (grpc.StatusCode.UNAVAILABLE, "NO_COORDINATOR", 1, "--id mine"),
    ],
)
def test_refused_pushes_say_what_to_do(code: grpc.StatusCode, reason: str, exit_code: int, advice: str) -> None:
    with Run("model", "push", "bert", "/m/bert", "--id", "mine") as running:
        running.fail_stream(f"{LOCAL}/Publish", code, "the reason", [info(reason)])
        result = running.result()
    assert result.exit_code == exit_code
    assert "the reason" in result.stderr and advice in result.stderr


# ---- progress


def test_lines_tell_pace_and_what_is_left_and_not_too_often() -> None:
    said: list[str] = []
    now = iter((0.0, 1.0, 5.0, 7.0, 12.0, 12.1))
    with Lines(said.append, lambda: next(now)) as lines:
        for done in (0, 100_000_000, 500_000_000, 700_000_000, 1_200_000_000):
            lines.at("reading bert", done, 2_000_000_000, "1 GB new")
        lines.at("waiting", 0, 0)
    assert said == [
        "reading bert",
        "reading bert: 500 MB of 2 GB (25 %), 100 MB/s, 15 s left, 1 GB new",
        "reading bert: 1.2 GB of 2 GB (60 %), 100 MB/s, 8 s left, 1 GB new",
        "waiting",
    ]


def test_a_pace_is_told_only_when_there_is_one() -> None:
    assert pace(0, 1000, 3.0) == "0 bytes of 1 kB (0 %)"
    assert pace(1000, 1000, 0.0) == "1 kB of 1 kB (100 %)"


# ---- what there is


def test_list_tells_what_is_here_of_the_newest() -> None:
    listed = models(version(3, bytes_here=400, path="", trouble="parked: disk full"), version(2), current=2)
    listed.models.add(name="gone", newest=2, versions=[version(1)])
    with Run("model", "list") as running:
        running.answer(f"{LOCAL}/ListModels", listed)
        lines = running.result().stdout.splitlines()
    assert lines[1].split(maxsplit=1)[0] == "bert"
    assert "400 bytes of 1 kB" in lines[1] and "parked: disk full" in lines[1]
    assert lines[2].startswith("gone") and lines[2].endswith("removed")
    assert lines[-1] == "store: 2 MB used, 9 GB free"


def test_show_tells_the_state_of_each_version() -> None:
    listed = models(
        version(4, bytes_here=400, path=""), version(3, current=True), version(2, pinned=True), version(1, path="")
    )
    with Run("model", "show", "bert", "-o", "wide") as running:
        assert running.answer(f"{LOCAL}/ListModels", listed).name == "bert"
        lines = running.result().stdout.splitlines()
    assert "400 bytes here (40 %)" in lines[1]
    assert "current" in lines[2] and "/m/bert/releases/3" in lines[2]
    assert "pinned" in lines[3] and "not installed" in lines[4]


def test_a_model_of_which_nothing_is_left_is_shown_as_that() -> None:
    listed = pb.ListModelsResponse(models=[pb.Model(name="bert", newest=2)])
    for words, said in ((("list",), "removed"), (("show", "bert"), "bert is removed")):
        with Run("model", *words) as running:
            running.answer(f"{LOCAL}/ListModels", listed)
            assert said in running.result().stdout


# ---- changes


@pytest.mark.parametrize("word", ["pin", "unpin", "pull"])
def test_what_concerns_one_agent_is_not_asked_about(word: str) -> None:
    with Run("model", word, "bert", "3") as running:
        asked = running.answer(f"{LOCAL}/ManageModel", pb.ManageModelResponse())
        result = running.result()
    assert result.exit_code == 0
    assert (asked.name, asked.WhichOneof("action"), getattr(asked, word)) == ("bert", word, 3)


def test_rollback_finds_the_version_before_that_is_another() -> None:
    with Run("model", "rollback", "bert", "--yes", "-m", "worse") as running:
        running.answer(f"{LOCAL}/ListModels", models(version(5, "x"), version(4, "x"), version(3), version(2)))
        asked = running.answer(f"{LOCAL}/ManageModel", pb.ManageModelResponse(appended=appended(6, 900)))
        result = running.result()
    assert (asked.rollback, asked.message, asked.validate_only) == (3, "worse", False)
    assert result.stdout == "bert is as in version 3 again: version 6, entry 900 of the log\n"
    with Run("model", "rollback", "bert", "--yes") as running:
        running.answer(f"{LOCAL}/ListModels", models(version(5, "x"), version(4, "x")))
        assert running.result().exit_code == 1


@pytest.mark.parametrize("words", [("rollback", "bert", "3"), ("remove", "bert")])
def test_what_concerns_all_regions_is_tried_and_asked_about(words: tuple[str, ...]) -> None:
    with Run("model", *words) as running:
        assert running.answer(f"{LOCAL}/ManageModel", pb.ManageModelResponse()).validate_only
        result = running.result()
    assert result.exit_code == 2 and "--yes" in result.stderr
    with Run("model", *words) as running:
        running.fail(f"{LOCAL}/ManageModel", grpc.StatusCode.NOT_FOUND, "no such", [info("VERSION_NOT_FOUND")])
        assert running.result().exit_code == 1


def test_gc_asks_before_versions_go() -> None:
    plan = pb.ManageModelResponse(dropped=["bert/1", "bert/2"], freed_bytes=5000)
    with Run("model", "gc") as running:
        assert running.answer(f"{LOCAL}/ManageModel", plan).validate_only
        result = running.result()
    assert result.exit_code == 2 and "5 kB would be freed; bert/1, bert/2 would go" in result.stderr
    with Run("model", "gc", "bert", "--dry-run") as running:
        assert running.answer(f"{LOCAL}/ManageModel", plan).validate_only
        assert running.result().stdout == "5 kB would be freed; bert/1, bert/2 would go\n"
    with Run("model", "gc", "--yes") as running:
        asked = running.answer(f"{LOCAL}/ManageModel", plan)
        assert running.result().stdout == "5 kB freed; dropped bert/1, bert/2\n"
    assert asked.collect and not asked.validate_only


def test_verify_names_what_was_damaged() -> None:
    def said(*damaged: str, done: bool = False) -> pb.VerifyModelsResponse:
        return pb.VerifyModelsResponse(bytes_done=500, bytes_total=1000, damaged=damaged, done=done)

    with Run("model", "verify", "bert") as running:
        running.stream(f"{LOCAL}/VerifyModels", [said(), said("bert/1/a"), said("bert/2/b"), said(done=True)])
        result = running.result()
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["1 kB read; damaged:", "  bert/1/a", "  bert/2/b"]
    with Run("model", "verify", "-o", "json") as running:
        running.stream(f"{LOCAL}/VerifyModels", [said("bert/1/a"), said(done=True)])
        result = running.result()
    assert json.loads(result.stdout)["damaged"] == ["bert/1/a"]
    with Run("model", "verify") as running:
        running.stream(f"{LOCAL}/VerifyModels", [said(done=True)])
        result = running.result()
    assert (result.exit_code, result.stdout) == (0, "1 kB read; all of it is as it should be\n")
