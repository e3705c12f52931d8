"""Hooks as real processes: they hang, print without end, leave children behind, fail, are missing, or are cut short."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from primacy_agent.core.effects import KillHook, RunHook
from primacy_agent.core.events import HookDone
from primacy_agent.core.hooks import HookKind
from primacy_agent.hooks import HOOK_FILE, HookRunner
from primacy_agent.programs import TAIL_BYTES
from primacy_agent.tasks import Tasks
from primacy_wire.clock import boot_id
from primacy_wire.daemon import start_ticks

pytestmark = pytest.mark.integration
ENVIRONMENT = (("PRIMACY_EPOCH", "7"), ("PRIMACY_REGION", "eu"), ("PRIMACY_REASON", 'a "reason"\nof two lines'))
END_S = 20.0


class Bench:
    """A runner whose on_promote is a shell script of the test's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.program = folder / "hook"
        self.tasks = Tasks()
        self.ended: asyncio.Queue[HookDone] = asyncio.Queue()
        self.runner = HookRunner(
            {HookKind.ON_PROMOTE: [str(self.program), "one argument"]}, folder, self.ended.put_nowait, self.tasks
        )

    def script(self, text: str) -> None:
        self.program.write_text(f"#!/bin/sh\ncd {self.folder}\n{text}")
        self.program.chmod(0o755)

    def start(self) -> None:
        self.runner.run(RunHook(HookKind.ON_PROMOTE, 7, ENVIRONMENT))

    def kill(self) -> None:
        self.runner.kill(KillHook(HookKind.ON_PROMOTE, 7))

    async def end(self) -> HookDone:
        async with asyncio.timeout(END_S):
            return await self.ended.get()

    async def run(self, text: str) -> HookDone:
        self.script(text)
        self.start()
        return await self.end()

    async def pid_in(self, name: str) -> int:
        """A pid that the hook wrote into a file."""
        path = self.folder / name
        async with asyncio.timeout(END_S):
            while not (path.exists() and path.read_text().endswith("\n")):
                await asyncio.sleep(0.01)
        return int(path.read_text())


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    await bench.tasks.stop()


async def gone(pid: int) -> None:
    """Wait until a process is gone, or a zombie that nobody has reaped yet."""
    async with asyncio.timeout(END_S):
        while start_ticks(pid) is not None:
            await asyncio.sleep(0.01)


async def test_a_hook_gets_its_arguments_and_environment_and_what_it_prints_is_kept(bench: Bench) -> None:
    ended = await bench.run('echo "$1: epoch $PRIMACY_EPOCH in $PRIMACY_REGION, $PRIMACY_REASON"; echo then >&2')
    assert (ended.kind, ended.epoch, ended.exit_code, ended.started) == (HookKind.ON_PROMOTE, 7, 0, True)
    assert ended.output == 'one argument: epoch 7 in eu, a "reason"\nof two lines\nthen\n'
    assert ended.length_ns > 0
    assert not (bench.folder / HOOK_FILE).exists()


async def test_a_failure_is_told_with_its_exit_code_or_signal(bench: Bench) -> None:
    assert (await bench.run("echo no; exit 3")).exit_code == 3
    assert (await bench.run("kill -TERM $$")).exit_code == -signal.SIGTERM


async def test_a_program_that_cannot_be_started_is_told_as_such(bench: Bench) -> None:
    bench.start()
    ended = await bench.end()
    assert not ended.started
    assert str(bench.program) in ended.output and "No such file" in ended.output
    bench.program.write_text("not a program")
    bench.program.chmod(0o644)
    bench.start()
    assert "Permission denied" in (await bench.end()).output
    bench.program.chmod(0o755)
    bench.start()
    assert "Exec format error" in (await bench.end()).output


async def test_a_hook_that_hangs_is_killed_with_its_group_and_its_words_are_kept(bench: Bench) -> None:
    bench.script(
        "trap '' TERM INT; sleep 1000 & echo $! >child; echo waiting for godot; echo $$ >self; wait; sleep 1000"
    )
    bench.start()
    child, leader = await bench.pid_in("child"), await bench.pid_in("self")
    assert os.getpgid(child) == leader == os.getsid(leader) != os.getpgid(0)
    noted = json.loads((bench.folder / HOOK_FILE).read_text())
    assert noted["pid"] == leader
    bench.kill()
    ended = await bench.end()
    assert (ended.exit_code, ended.output) == (-signal.SIGKILL, "waiting for godot\n")
    await gone(child)


async def test_a_hook_that_prints_without_end_blocks_nothing(bench: Bench) -> None:
    bench.script("echo $$ >self; yes 'a line that is one of very many'")
    bench.start()
    await bench.pid_in("self")
    answered = 0
    end_ns = time.monotonic() + 0.5
    while time.monotonic() < end_ns:
        await asyncio.sleep(0)
        answered += 1
    assert answered > 10  # The loop goes on turning.
    bench.kill()
    ended = await bench.end()
    assert 0 < len(ended.output) <= TAIL_BYTES


async def test_of_much_output_the_end_is_kept_and_bad_text_is_no_trouble(bench: Bench) -> None:
    ended = await bench.run(r"yes 0123456789 | head -c 5000000; printf '\377\376 the end\n'")
    assert ended.exit_code == 0
    assert len(ended.output) <= TAIL_BYTES
    assert ended.output.endswith("\ufffd\ufffd the end\n")


async def test_children_that_it_leaves_behind_die_with_it_and_hold_nobody_up(bench: Bench) -> None:
    ended = await bench.run("sleep 1000 & echo $! >child; echo done")
    assert (ended.exit_code, ended.output) == (0, "done\n")
    await gone(await bench.pid_in("child"))


async def test_a_server_in_its_own_session_outlives_it_and_holds_nobody_up(bench: Bench) -> None:
    ended = await bench.run(
        "setsid sh -c 'echo $$ >server; exec sleep 1000' & while [ ! -s server ]; do :; done; echo up"
    )
    server = await bench.pid_in("server")
    try:
        assert (ended.exit_code, ended.output) == (0, "up\n")
        assert start_ticks(server) is not None
    finally:
        os.kill(server, signal.SIGKILL)


async def test_an_agent_that_stops_takes_its_hook_along(bench: Bench) -> None:
    bench.script("sleep 1000 & echo $! >child; wait")
    bench.start()
    child = await bench.pid_in("child")
    await bench.tasks.stop()
    assert bench.ended.empty()
    await gone(child)
    assert not (bench.folder / HOOK_FILE).exists()


LIFE = """
import asyncio, sys
from pathlib import Path
from primacy_agent.core.effects import RunHook
from primacy_agent.core.hooks import HookKind
from primacy_agent.hooks import HookRunner
from primacy_agent.tasks import Tasks

async def main():
    folder = Path(sys.argv[1])
    HookRunner({HookKind.ON_PROMOTE: [str(folder / "hook")]}, folder, print, Tasks()).run(
        RunHook(HookKind.ON_PROMOTE, 7, ()))
    await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_the_next_life_kills_what_a_killed_agent_left_running(bench: Bench) -> None:
    bench.script("sleep 1000 & echo $! >child; echo $$ >self; wait")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LIFE, str(bench.folder))
    leader, child = await bench.pid_in("self"), await bench.pid_in("child")
    async with asyncio.timeout(END_S):
        while not (bench.folder / HOOK_FILE).exists():
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    assert start_ticks(leader) is not None  # Nobody could end it.
    bench.runner.end_leftover()
    await gone(leader)
    await gone(child)
    assert not (bench.folder / HOOK_FILE).exists()


@pytest.mark.parametrize("noted", ["", "{", "[1]", '{"pid": "x"}', '{"pid": 1}'])
async def test_a_damaged_note_of_a_hook_stops_nobody(bench: Bench, noted: str) -> None:
    (bench.folder / HOOK_FILE).write_text(noted)
    bench.runner.end_leftover()


async def test_another_process_with_the_noted_number_is_left_alone(bench: Bench) -> None:
    other = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        ticks = start_ticks(other.pid)
        assert ticks is not None
        for note in (
            {"pid": other.pid, "start_ticks": ticks + 1, "boot_id": boot_id()},
            {"pid": other.pid, "start_ticks": ticks, "boot_id": "another boot"},
            {"pid": other.pid, "start_ticks": None, "boot_id": boot_id()},
        ):
            (bench.folder / HOOK_FILE).write_text(json.dumps(note))
            bench.runner.end_leftover()
            assert not (bench.folder / HOOK_FILE).exists()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
