"""State folders belong to one process, and daemons follow their parent into death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from primacy_wire.daemon import (
    FolderError,
    FolderLocked,
    PidFile,
    StateFolder,
    read_pid_file,
    start_ticks,
    write_file,
)

HOLD = "import sys\nfrom pathlib import Path\nfrom primacy_wire.daemon import StateFolder\n"
HOLD += "folder = StateFolder(Path(sys.argv[1]), 'holder')\nprint('held', flush=True)\nsys.stdin.read()\n"

FOLLOW = "import time\nfrom primacy_wire.daemon import follow_parent\nfollow_parent()\nprint('up', flush=True)\n"
FOLLOW += "time.sleep(600)\n"

PARENT = "import os, subprocess, sys\n"
PARENT += "env = {**os.environ, 'PRIMACY_PARENT_PID': str(os.getpid())}\n"
PARENT += "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], env=env, stdout=subprocess.PIPE, text=True)\n"
PARENT += "print(child.pid, child.stdout.readline().strip(), flush=True)\nsys.stdin.read()\n"


def test_a_folder_is_made_locked_and_signed(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with StateFolder(path, "primacy-test") as folder:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert read_pid_file(path / "pid") == folder.pid_file
        assert folder.pid_file.pid == os.getpid()
        assert folder.pid_file.is_running()
        with pytest.raises(FolderLocked, match=f"process {os.getpid()} has this state folder") as caught:
            StateFolder(path, "primacy-test")
        assert caught.value.owner_pid == os.getpid()
        assert read_pid_file(path / "pid") == folder.pid_file
    assert not (path / "pid").exists()
    StateFolder(path, "primacy-test").close()


def test_a_killed_process_leaves_the_folder_free(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(FolderLocked) as caught:
            StateFolder(tmp_path, "primacy-test")
        assert caught.value.owner_pid == holder.pid
        left = read_pid_file(tmp_path / "pid")
        assert left is not None
        assert left.is_running()
    finally:
        holder.kill()
        holder.communicate()
    assert not left.is_running()
    with StateFolder(tmp_path, "primacy-test") as folder:
        assert folder.pid_file.pid == os.getpid()


def test_a_folder_that_is_not_writable_is_named() -> None:
    # Nobody can make a folder in /proc, not even root.
    with pytest.raises(FolderError, match=r"^/proc/primacy: .* can write to$"):
        StateFolder(Path("/proc/primacy"), "primacy-test")


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(FolderError, match=rf"{tmp_path}/state: .*must be a folder"):
        StateFolder(tmp_path / "state", "primacy-test")


def test_another_process_under_the_same_pid_is_not_it(tmp_path: Path) -> None:
    with StateFolder(tmp_path, "primacy-test") as folder:
        mine = folder.pid_file
    assert not PidFile(mine.pid, mine.start_ticks + 1, mine.boot_id, "").is_running()
    assert not PidFile(mine.pid, mine.start_ticks, "another boot", "").is_running()


def test_a_zombie_is_not_running() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert start_ticks(child.pid) is None
    child.communicate()


@pytest.mark.parametrize("content", ["", "12", "{}", "[]", '{"pid": "x"}', "\xff"])
def test_an_unreadable_pid_file_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content, encoding="latin-1")
    assert read_pid_file(tmp_path / "pid") is None


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_file(tmp_path / "state", b"old")
    write_file(tmp_path / "state", json.dumps({"new": 1}).encode())
    assert (tmp_path / "state").read_bytes() == b'{"new": 1}'
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_daemon_dies_with_its_parent(stopped: bool) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, FOLLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid, word = parent.stdout.readline().split()
    assert word == "up"
    assert start_ticks(int(pid)) is not None
    if stopped:
        os.kill(int(pid), signal.SIGSTOP)
    parent.kill()
    parent.communicate()
    async with asyncio.timeout(10):
        while start_ticks(int(pid)) is not None:
            await asyncio.sleep(0.01)


def test_a_daemon_whose_parent_is_gone_already_does_not_start() -> None:
    # Any pid but ours stands for a parent that is gone: the child's parent is another.
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW],
        env={**os.environ, "PRIMACY_PARENT_PID": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stderr == "the parent process 1 is gone\n"
