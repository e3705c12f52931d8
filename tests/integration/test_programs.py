"""Programs that behave badly: they hang, fork, print without end, leave children behind, or never start."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from primacy_agent import programs
from primacy_agent.core.mapping import Mapped, Missing
from primacy_agent.core.probing import Look
from primacy_agent.core.selectors import Selector
from primacy_agent.probes.exposition import Measuring
from primacy_agent.probes.page_looks import OUTPUT_BYTES_MAX, ExecLook
from primacy_agent.programs import How, NotStarted, run
from primacy_wire.daemon import start_ticks

from tests.integration.probed import until

pytestmark = pytest.mark.integration

LONG_S = 60.0
"""More than any of these programs needs, however busy the machine is."""


def shell(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


async def look(text: str, timeout_s: float = LONG_S) -> Look:
    return await ExecLook(shell(text), None, None)(timeout_s)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def pids_in(file: Path) -> list[int]:
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize(
    ("text", "good", "message"),
    [
        ("exit 0", True, ""),
        ("echo fine; echo all good; echo", True, "all good"),
        ("echo on stderr >&2", True, "on stderr"),
        ("exit 3", False, "exited with 3"),
        ("echo primary is read-only; exit 2", False, "exited with 2: primary is read-only"),
        ("kill -SEGV $$", False, "was ended by SIGSEGV"),
        ("kill -40 $$", False, "was ended by signal 40"),
        ("printf 'a\\033[31mred\\a\\ttab'", True, "a [31mred tab"),
        ("printf '\\377\\376'", True, "��"),
        ("read line; echo got=$line", True, "got="),
    ],
)
async def test_the_exit_code_decides_and_the_last_line_is_the_message(text: str, good: bool, message: str) -> None:
    seen = await look(text)
    assert (seen.good, seen.certain) == (good, False)
    assert seen.message == message
    assert seen.latency_ns > 0


async def test_a_message_fits_into_a_report() -> None:
    seen = await look("head -c 100000 /dev/zero | tr '\\0' x")
    assert seen.good
    assert seen.message == "x" * 199 + "…"


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no program")
    for argv, why in (
        ([str(tmp_path / "none")], "No such file or directory"),
        ([str(text)], "Permission denied"),
        ([str(tmp_path)], "Permission denied"),
    ):
        with pytest.raises(NotStarted, match=f"{argv[0]} cannot be started: {why}"):
            await run(argv, LONG_S)
        seen = await ExecLook(argv, None, None)(LONG_S)
        assert (seen.good, why in seen.message) == (False, True)
    text.chmod(0o755)
    with pytest.raises(NotStarted, match="Exec format error"):
        await run([str(text)], LONG_S)


async def test_a_program_that_hangs_is_killed_with_all_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    text = f"trap '' TERM INT HUP; (sleep 600 & echo $! >> {file}; wait) & sleep 600 & echo $! $$ >> {file}; wait"
    began = time.monotonic()
    seen = await look(f"echo before; {text}", 3.0)
    assert time.monotonic() - began < 30
    assert (seen.good, seen.message) == (False, "did not end within 3 s, and was killed: before")
    pids = pids_in(file)
    assert len(pids) == 3
    await until(lambda: not any(start_ticks(pid) for pid in pids), "all are gone")


async def test_a_child_left_behind_is_not_waited_for_and_ends_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    seen = await look(f"sleep 600 & echo $! > {file}; echo done")
    assert (seen.good, seen.message) == (True, "done")
    (pid,) = pids_in(file)
    await until(lambda: not start_ticks(pid), "it is gone")


async def test_a_child_that_left_the_group_holds_nobody_up(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    daemon = f"import os, sys, time; os.setsid(); open({str(file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    seen = await look(f'{sys.executable} -c "{daemon}" & while [ ! -s {file} ]; do sleep 0.01; done; echo done')
    (pid,) = pids_in(file)
    try:
        assert (seen.good, seen.message) == (True, "done")
        assert start_ticks(pid), "it lives in a session of its own, and is not ours to kill"
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_a_program_that_prints_without_end_is_killed() -> None:
    seen = await look("echo first; yes 'all work and no play'")
    assert not seen.good
    assert seen.message.startswith(f"printed more than {OUTPUT_BYTES_MAX} bytes, and was killed: ")
    ended = await run(shell("yes >&2"), LONG_S, keep_bytes=100, bytes_max=10_000)
    assert (ended.how, ended.output) == (How.TOO_MUCH, b"")
    assert len(ended.errors) <= programs.TAIL_BYTES


async def test_much_is_read_to_its_end_and_only_the_end_is_kept() -> None:
    ended = await run(shell("head -c 3000000 /dev/zero; echo; echo end"), LONG_S)
    assert (ended.how, ended.exit_code, len(ended.output)) == (How.EXITED, 0, programs.TAIL_BYTES)
    assert ended.output.endswith(b"\0\nend\n")
    ended = await run(shell("head -c 200000 /dev/zero; echo why >&2"), LONG_S, keep_bytes=1000)
    assert (ended.output, ended.errors) == (b"\0" * 1000, b"why\n")


async def test_a_cancelled_run_leaves_nothing_behind(tmp_path: Path) -> None:
    file, before = tmp_path / "pids", open_files()
    task = asyncio.create_task(run(shell(f"sleep 600 & echo $! $$ > {file}; wait"), LONG_S))
    await until(lambda: len(pids_in(file)) == 2, "it runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not any(start_ticks(pid) for pid in pids_in(file)), "all are gone")
    assert open_files() <= before, "what earlier tests left may have gone meanwhile"
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


async def test_many_looks_leak_neither_descriptors_nor_zombies() -> None:
    await look("echo x")
    before = open_files()
    seen = await asyncio.gather(*(look(text) for text in ["echo x"] * 10 + ["exit 1", "yes", "sleep 600 & exit 0"] * 5))
    assert [each.good for each in seen] == [True] * 10 + [False, False, True] * 5
    assert open_files() <= before, "what earlier tests left may have gone meanwhile"
    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


async def test_a_program_inherits_the_environment_but_not_what_is_our_grpc_s_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRPC_ENABLE_FORK_SUPPORT", "0")
    monkeypatch.setenv("GRPC_VERBOSITY", "debug")
    monkeypatch.setenv("PGHOST", "db")
    text = 'echo "$PGHOST,$GRPC_ENABLE_FORK_SUPPORT,$GRPC_VERBOSITY,$PRIMACY_EPOCH"'
    ended = await run(shell(text), LONG_S, {"PRIMACY_EPOCH": "7"})
    assert ended.output == b"db,,debug,7\n"


# ---- programs that print series


def measuring(*keys: str, missing: Missing = Missing.FAIL) -> ExecLook:
    text = 'printf "%s" "$PAGE"; echo "as seen by check" >&2; exit "${CODE:-0}"'
    return ExecLook(shell(text), Measuring([Mapped(key, Selector(key), missing=missing) for key in keys]), None)


@pytest.mark.parametrize(
    ("page", "code", "good", "message"),
    [
        ("lag_seconds 2.5\nbacklog 7\n", "0", True, "as seen by check"),
        ("lag_seconds 2.5\nbacklog 7\n", "4", False, "exited with 4: as seen by check"),
        ("lag_seconds 2.5\n", "0", False, "there is no series backlog for backlog"),
        ("lag_seconds NaN\nbacklog 7\n", "0", False, "lag_seconds is nan, which is no number for lag_seconds"),
        ("all is well", "0", False, "there is no series lag_seconds for lag_seconds"),
        ("ok", "0", False, "not in the Prometheus text format: line 1: 'ok': no name and value"),
        ("", "0", False, "there is no series lag_seconds for lag_seconds"),
    ],
)
async def test_what_a_program_prints_is_read_as_a_metrics_page(
    page: str, code: str, good: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGE", page)
    monkeypatch.setenv("CODE", code)
    seen = await measuring("lag_seconds", "backlog")(LONG_S)
    assert (seen.good, seen.message) == (good, message)
    assert seen.readings.values == ({"lag_seconds": 2.5, "backlog": 7} if good else {})
