"""The weights as a file and the program behind it, on a real disk and with real programs."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane import weights_file, weights_hook
from primacy_agent.dataplane.config import DataplaneConfig, WeightsFileConfig
from primacy_agent.dataplane.making import make_outputs
from primacy_agent.dataplane.outputs import Output, Outputs
from primacy_agent.dataplane.weights_file import render_weights
from primacy_agent.tasks import Tasks
from primacy_wire.daemon import start_ticks
from primacy_wire.durations import Duration
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from tests.integration.probed import until
from tests.unit.agent.test_agent_checks import traffic

Told = list[tuple[str, str, bool]]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (weights_file, weights_hook):
        monkeypatch.setattr(module, "AGAIN_FIRST_NS", 20 * MILLISECOND_NS)
        monkeypatch.setattr(module, "AGAIN_MOST_NS", 50 * MILLISECOND_NS)


class Running:
    """The outputs of some settings, at work."""

    def __init__(self, outputs: Outputs, told: Told) -> None:
        self.outputs = outputs
        self.told = told

    def of(self, name: str) -> Output:
        return next(output for output in self.outputs.all if output.name == name)

    def names(self) -> list[str]:
        return [name for name, _, _ in self.told]

    def figures(self) -> dict[tuple[str, str], float]:
        return {(one.name, one.labels.get("outcome", "")): one.value for one in self.outputs.figures()}


@asynccontextmanager
async def running(folder: Path, **settings: object) -> AsyncIterator[Running]:
    told: Told = []
    tasks = Tasks()
    file = WeightsFileConfig(**{"hook_interval": Duration.of("0s"), **settings})  # type: ignore[arg-type]
    outputs = make_outputs(
        DataplaneConfig(file=file),
        "shop",
        folder,
        lambda *event: told.append(event),
        lambda *_: None,
        tasks,
    )
    await outputs.start()
    failing = asyncio.ensure_future(tasks.failed())
    try:
        yield Running(outputs, told)
        assert not failing.done(), failing
    finally:
        failing.cancel()
        await tasks.stop()
        await outputs.close()


def at(version: int, **changed: object) -> Traffic:
    return replace(traffic(), version=version, **changed)  # type: ignore[arg-type]


def version_in(path: Path) -> int:
    return int(json.loads(path.read_bytes())["version"]) if path.exists() else 0


# ---- the file


def test_the_file_says_everything() -> None:
    told = traffic(
        (0.3, 0.7, 0), drained=("us",), fallback=("ap",), shunned=("ap",), active_region="us", active_epoch=9
    )
    assert json.loads(render_weights(told, 1_700_000_000 * SECOND_NS)) == {
        "group": "shop",
        "region": "us",
        "version": 7,
        "strategy": "ROUTING_STRATEGY_LATENCY",
        "read": {"ap": 0.3, "eu": 0.7, "us": 0},
        "write": {"ap": 0, "eu": 0, "us": 1},
        "endpoints": {"ap": "ap:80", "eu": "eu:80", "us": "us:80"},
        "fallback": ["ap"],
        "drained": ["us"],
        "shunned": ["ap"],
        "activeRegion": "us",
        "activeEpoch": 9,
        "writeTime": "2023-11-14T22:13:20.000Z",
    }
    odd = json.loads(render_weights(replace(told, strategy=99, read=(("ap", 1e-9), ("eu", 1 / 3))), 0))
    assert odd["strategy"] == "99" and odd["read"] == {"ap": 1e-9, "eu": 0.333333}


async def test_it_is_replaced_as_a_whole_and_only_when_something_changed(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text("of an earlier life\n")
    path.chmod(0o640)
    async with running(tmp_path, path=path) as run:
        assert path.read_text() == "of an earlier life\n", "before the first weights nothing is touched"
        first = path.stat().st_ino
        run.outputs.apply(at(1))
        await until(lambda: run.of("file").version == 1, "written")
        assert path.stat().st_ino != first and stat.S_IMODE(path.stat().st_mode) == 0o640
        second = path.stat().st_ino
        run.outputs.apply(at(1))
        run.outputs.apply(at(2))
        await until(lambda: run.of("file").version == 2, "written")
        assert path.stat().st_ino != second
        assert run.figures()["weights_file_writes_total", "succeeded"] == 2
        assert run.told == [] and os.listdir(tmp_path) == ["weights.json"]


async def test_a_new_file_may_be_read_by_all(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    async with running(tmp_path, path=path) as run:
        run.outputs.apply(at(1))
        await until(path.exists, "written")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644


async def test_a_folder_that_is_not_there_is_told_once_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "later" / "weights.json"
    async with running(tmp_path, path=path) as run:
        run.outputs.apply(at(1))
        await until(lambda: run.figures()["weights_file_writes_total", "failed"] > 3, "tried again and again")
        assert "No such file or directory; make its folder" in run.of("file").trouble
        assert run.figures()["dataplane_trouble", ""] == 1
        assert run.told == [("weights-file-failed", run.of("file").trouble, True)]
        run.outputs.apply(at(2))
        path.parent.mkdir()
        await until(lambda: run.of("file").version == 2, "written")
        assert run.of("file").trouble == "" and version_in(path) == 2
        assert run.names() == ["weights-file-failed", "weights-file-written"]


async def test_a_path_that_became_a_folder_is_another_fault(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.mkdir()
    async with running(tmp_path, path=path) as run:
        run.outputs.apply(at(1))
        await until(lambda: bool(run.of("file").trouble), "trouble")
        assert "name a file" in run.of("file").trouble
        path.rmdir()
        await until(lambda: run.of("file").version == 1, "written")
        assert os.listdir(tmp_path) == ["weights.json"], "nothing is left of the tries"


async def test_a_disk_that_hangs_stops_nothing_else_and_the_newest_weights_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, hung, written = tmp_path / "weights.json", threading.Event(), list[int]()

    def write(to: Path, content: bytes, mode: int) -> None:
        hung.wait()
        to.write_bytes(content)
        written.append(version_in(to))

    monkeypatch.setattr(weights_file, "write_file", write)
    monkeypatch.setattr(weights_file, "SLOW_S", 0.01)
    async with running(tmp_path, path=path) as run:
        for version in range(1, 6):
            run.outputs.apply(at(version))
            await until(lambda: "does its disk answer?" in run.of("file").trouble, "trouble")
        assert run.names() == ["weights-file-failed"]
        hung.set()
        await until(lambda: run.of("file").version == 5, "written")
        assert written == [1, 5] and run.of("file").trouble == ""


async def test_an_agent_may_stop_while_the_disk_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    monkeypatch.setattr(weights_file, "write_file", lambda *_: hung.wait())
    async with running(tmp_path, path=tmp_path / "weights.json") as run:
        run.outputs.apply(at(1))
        await until(lambda: any(thread.name == "weights file" for thread in threading.enumerate()), "at it")
    hung.set()


# ---- the hook


def shell(folder: Path, text: str) -> list[str]:
    return ["/bin/sh", "-c", f"cd {folder}\n{text}"]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


NOTE = """
in_file=$(grep -o '"version": [0-9]*' $PRIMACY_WEIGHTS_FILE)
echo "$PRIMACY_GROUP $PRIMACY_REGION $PRIMACY_VERSION $in_file" >> log
"""


async def test_the_hook_runs_when_the_file_is_in_place(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    async with running(tmp_path, path=path, on_weights=shell(tmp_path, NOTE)) as run:
        for version in (1, 2):
            run.outputs.apply(at(version))
            await until(lambda version=version: run.of("hook").version == version, "run")  # type: ignore[misc]
        assert lines(tmp_path / "log") == ['shop us 1 "version": 1', 'shop us 2 "version": 2']
        assert run.figures()["weights_hook_runs_total", "succeeded"] == 2
        assert run.figures()["weights_hook_seconds", ""] > 0
        assert (run.told, run.of("hook").address) == ([], "/bin/sh")


async def test_one_at_a_time_and_what_changed_meanwhile_is_run_once(tmp_path: Path) -> None:
    slow = NOTE + "while [ ! -e go ]; do sleep 0.01; done; "
    async with running(tmp_path, path=tmp_path / "weights.json", on_weights=shell(tmp_path, slow)) as run:
        run.outputs.apply(at(1))
        await until(lambda: len(lines(tmp_path / "log")) == 1, "the first run")
        for version in range(2, 9):
            run.outputs.apply(at(version))
            await until(lambda version=version: run.of("file").version == version, "written")  # type: ignore[misc]
        assert len(lines(tmp_path / "log")) == 1, "none beside it"
        (tmp_path / "go").touch()
        await until(lambda: run.of("hook").version == 8, "the last run")
        assert [line.split()[2] for line in lines(tmp_path / "log")] == ["1", "8"]


async def test_it_is_started_no_more_often_than_the_interval(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    interval = Duration.of("60s")
    async with running(tmp_path, path=path, on_weights=shell(tmp_path, NOTE), hook_interval=interval) as run:
        run.outputs.apply(at(1))
        await until(lambda: run.of("hook").version == 1, "the first run is at once")
        run.outputs.apply(at(2))
        await until(lambda: run.of("file").version == 2, "the file does not wait")
        assert len(lines(tmp_path / "log")) == 1


async def test_a_hook_that_fails_is_told_once_for_each_reason_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    text = 'echo no config here; code=$(cat code 2>/dev/null || echo 3); echo "it is $code"; exit $code'
    async with running(tmp_path, path=path, on_weights=shell(tmp_path, text)) as run:
        run.outputs.apply(at(1))
        await until(lambda: run.figures()["weights_hook_runs_total", "failed"] > 2, "tried again and again")
        assert run.of("hook").trouble == "/bin/sh exited with 3: it is 3"
        (tmp_path / "code").write_text("4")
        await until(lambda: len(run.told) == 2, "another reason")
        assert (run.of("file").trouble, run.of("hook").version) == ("", 0), "the file is well"
        (tmp_path / "code").write_text("0")
        await until(lambda: run.of("hook").version == 1, "it succeeds")
        assert run.of("hook").trouble == ""
        assert run.names() == ["weights-hook-failed", "weights-hook-failed", "weights-hook-succeeded"]


async def test_a_hook_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    text = "trap '' TERM; sleep 600 & echo $! $$ >> pids; wait"
    settings = {"on_weights": shell(tmp_path, text), "hook_timeout": Duration.of("300ms")}
    async with running(tmp_path, path=path, **settings) as run:
        run.outputs.apply(at(1))
        await until(lambda: "did not end within 0.3 s, and was killed" in run.of("hook").trouble, "killed")
        pids = [int(pid) for pid in lines(tmp_path / "pids")[0].split()]
        await until(lambda: not any(start_ticks(pid) for pid in pids), "all are gone")
        run.outputs.apply(at(2))
        await until(lambda: run.of("file").version == 2, "the file goes on")


async def test_a_program_that_is_not_there_any_more(tmp_path: Path) -> None:
    program = tmp_path / "hook"
    async with running(tmp_path, path=tmp_path / "weights.json", on_weights=[str(program)]) as run:
        run.outputs.apply(at(1))
        await until(lambda: bool(run.of("hook").trouble), "trouble")
        assert "cannot be started: No such file or directory" in run.of("hook").trouble
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        await until(lambda: run.of("hook").version == 1, "run")


async def test_a_stop_kills_what_runs_and_a_new_life_kills_what_an_old_one_left(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    argv = shell(tmp_path, "echo $$ > pid; exec sleep 600")
    async with running(tmp_path, path=path, on_weights=argv) as run:
        run.outputs.apply(at(1))
        await until(lambda: lines(tmp_path / "pid"), "it runs")
        pid = int(lines(tmp_path / "pid")[0])
        noted = (tmp_path / weights_hook.NOTE_FILE).read_bytes()
    await until(lambda: start_ticks(pid) is None, "it is gone")
    assert not (tmp_path / weights_hook.NOTE_FILE).exists()
    left = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    note = json.loads(noted) | {"pid": left.pid, "start_ticks": start_ticks(left.pid)}
    (tmp_path / weights_hook.NOTE_FILE).write_text(json.dumps(note))
    async with running(tmp_path, path=path, on_weights=argv):
        assert await asyncio.wait_for(left.wait(), 10) == -9


# ---- the settings


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str], list[str]]:
    from primacy_agent.config import load_config
    from primacy_wire.settings import ConfigError

    def problems(text: str) -> list[str]:
        file = tmp_path / "agent.yaml"
        file.write_text(f"region: eu\ndataplane:\n{text}")
        try:
            load_config(str(file), {}, {})
        except ConfigError as error:
            return [problem.removeprefix(f"{file}:") for problem in error.problems]
        return []

    return problems


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "  file: {path: weights.json}\n",
            "3: dataplane.file.path: 'weights.json' is a relative path: must be absolute",
        ),
        (
            "  file: {path: /state/weights.json}\nstateDir: /state\n",
            "3: dataplane.file.path: '/state/weights.json' is in stateDir, where the agent keeps its own files",
        ),
        ("  file: {path: /tmp}\n", "3: dataplane.file.path: '/tmp' is a folder: must be the file itself"),
        (
            "  file: {onWeights: [/bin/true]}\n",
            "3: dataplane.file.onWeights: needs dataplane.file.path: it runs when that file has changed",
        ),
        (
            "  file: {path: /w.json, onWeights: [/no/such]}\n",
            "3: dataplane.file.onWeights: '/no/such': there is no such file: must be the absolute path",
        ),
        ("  file: {path: /w.json, hookTimeout: 0s}\n", "3: dataplane.file.hookTimeout: must be from 0.1s to 3600s"),
        ("  file: {path: /w.json, hookInterval: 2h}\n", "3: dataplane.file.hookInterval: must be from 0s to 3600s"),
        ("  haproxy: {address: here}\n", "3: dataplane.haproxy.address: 'here' is not an address"),
        ("  haproxy: {address: '0.0.0.0:7'}\n", "3: dataplane.haproxy.address: 0.0.0.0:7"),
    ],
)
def test_settings_that_cannot_be_are_refused(check: Callable[[str], list[str]], text: str, said: str) -> None:
    (problem,) = check(text)
    assert problem.startswith(said)


def test_good_settings(check: Callable[[str], list[str]]) -> None:
    assert check("  haproxy: {address: '127.0.0.1:7460'}\n  file: {path: /w.json, onWeights: [sh, -c, x]}\n") == []
