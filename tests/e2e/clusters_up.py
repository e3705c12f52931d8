"""A real `primacy up` in a folder of its own, driven from outside: its file, its processes, its commands."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

PRIMACY = (sys.executable, "-P", "-m", "primacy_cli.main")
READY_S = 60.0
STOP_S = 30.0
_LOOK_S = 0.05


def until(fact: Callable[[], T], what: str, seconds: float = 20.0) -> T:
    """Wait for a fact and return it. A connection that fails is not a fact yet."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            found = fact()
        except OSError as error:
            last = error
        else:
            if found:
                return found
            last = found
        time.sleep(_LOOK_S)
    raise AssertionError(f"{what}: not within {seconds:g} s; last seen: {last}")


def environment() -> dict[str, str]:
    """Ours, without settings of Primacy that this shell may have."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PRIMACY_")}


def running_under(folder: Path) -> dict[int, str]:
    """The living processes that name the folder in their command line: pid -> command line."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder) in word for word in words) and is_running(int(name)):
            found[int(name)] = " ".join(words)
    return found


def is_running(pid: int) -> bool:
    """A zombie does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def page(address: str, path: str, body: Any = None) -> tuple[int, dict[str, str], str]:
    """(status, headers, text) of an HTTP page; with a body, of a POST of its JSON."""
    sent = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", sent), timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


def _read(terminal: int) -> bytes:
    """What came next; empty when the other side is closed, or silent for too long."""
    ready, _, _ = select.select([terminal], [], [], STOP_S)
    try:
        return os.read(terminal, 65_536) if ready else b""
    except OSError:  # EIO: nobody has the terminal open any more.
        return b""


def patient(folder: Path) -> tuple[str, str]:
    """Flags of a policy whose first election waits for every region, also on a machine that is busy."""
    policy = folder / "patient.yaml"
    policy.write_text("firstWait: 4s\n")
    return "--policy", str(policy)


class Up:
    """One run of `primacy up`."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = folder
        self.output = folder.with_name(folder.name + ".out")
        self._restarted: list[subprocess.Popen[bytes]] = []
        file = folder / "cluster.json"
        self._earlier = file.read_text(encoding="utf-8") if file.exists() else ""
        """What an earlier run left in its place: it must not pass for this one's."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                (*PRIMACY, "up", "--dir", str(folder), *flags),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment(),
                start_new_session=True,
            )

    def __enter__(self) -> Up:
        try:
            return self.ready()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *error: object) -> None:
        self.close()

    def ready(self) -> Up:
        """Wait for the file that says so."""
        path = self.folder / "cluster.json"

        def written() -> bool:
            assert self.process.poll() is None, self.said()
            return path.exists() and path.read_text(encoding="utf-8") != self._earlier

        until(written, "cluster.json", READY_S)
        self.cluster: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        self.address = self.cluster["coordinators"][0]["grpc"]
        return self

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def region(self, name: str) -> dict[str, Any]:
        return next(region for region in self.cluster["regions"] if region["name"] == name)

    def entries(self) -> list[dict[str, Any]]:
        """Every process."""
        found = list(self.cluster["coordinators"])
        for region in self.cluster["regions"]:
            found += [*region["agents"], *region["services"]]
        return found

    def primacy(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command against this cluster, without a terminal."""
        result = subprocess.run(
            (*PRIMACY, *words),
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=90,
            env={**environment(), "PRIMACY_ADDRESS": self.address},
            check=False,
        )
        assert "Traceback" not in result.stderr, result.stderr
        return result

    def at_terminal(self, words: Sequence[str], prompt: str, answer: str) -> tuple[int, str]:
        """Run the command on a terminal and answer its prompt: (exit code, all that it showed)."""
        ours, theirs = os.openpty()
        process = subprocess.Popen(
            (*PRIMACY, *words),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**environment(), "PRIMACY_ADDRESS": self.address, "NO_COLOR": "1", "COLUMNS": "200"},
            start_new_session=True,
        )
        os.close(theirs)
        said, answered = b"", False
        try:
            while chunk := _read(ours):
                said += chunk
                if prompt.encode() in said and not answered:
                    answered = True
                    os.write(ours, answer.encode() + b"\n")
            return process.wait(STOP_S), said.decode(errors="replace")
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def json(self, *words: str) -> Any:
        result = self.primacy(*words, "-o", "json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def active(self) -> tuple[str, int]:
        """(region, epoch) as the coordinator counts them; ("", 0) while it does not answer."""
        result = self.primacy("status", "-o", "json")
        if result.returncode != 0:
            return "", 0
        status = json.loads(result.stdout)
        return status["activeRegion"], int(status["epoch"])

    def statuses(self) -> dict[str, str]:
        return {region["name"]: region["status"] for region in self.json("regions", "list")["regions"]}

    def restart(self, entry: dict[str, Any]) -> int:
        """Run the entry's command, as somebody at another terminal would. Returns the pid."""
        with Path(entry["log"]).open("ab") as log:
            process = subprocess.Popen(
                entry["command"], stdout=log, stderr=log, cwd="/", env=environment(), start_new_session=True
            )
        self._restarted.append(process)
        return process.pid

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to stop, and wait. Returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        self._reap()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for process in self._restarted:
            if process.poll() is None:
                process.kill()
        self._reap()

    def _reap(self) -> None:
        for process in self._restarted:
            process.wait(STOP_S)
