"""How fast a model comes from one agent to another, and at what cost, beside what else could bring it.

The floor is one bare gRPC stream of the same bytes in the same run, hashed as a whole and written to one file.
Ours are read from chunks that are verified as they are read, sent, verified as they come, written, and noted so that a
kill loses nothing. Everything lies in memory where the machine has a file system for it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path

from bench.copiers import rclone, rsync
from bench.rows import Row
from bench.servers import cpu_s, process
from bench.swarm import Swarm, swarm

SIZE = 1 << 30
ROUNDS = 3
GIB = 1 << 30


class Bare:
    """Both ends of the bare stream, as processes."""

    def __init__(self, sender: subprocess.Popen[str], taker: subprocess.Popen[str]) -> None:
        assert taker.stdin is not None
        assert taker.stdout is not None
        self._pids = (sender.pid, taker.pid)
        self._in, self._out = taker.stdin, taker.stdout
        self._out.readline()

    def take(self, size: int) -> tuple[float, float]:
        """(seconds, CPU seconds of both ends)."""
        before = sum(map(cpu_s, self._pids))
        self._in.write("\n")
        self._in.flush()
        found = json.loads(self._out.readline())
        if found["size"] != size:
            raise RuntimeError(f"the bare stream brought {found['size']} bytes")
        return float(found["seconds"]), sum(map(cpu_s, self._pids)) - before


def _ours(found: Swarm) -> tuple[float, float, float]:
    """(seconds, CPU seconds of both ends, bytes sent for each byte)."""
    pids = [found.origin.pid, *(taker.pid for taker in found.takers)]
    for taker in found.takers:
        taker.ask("forget")
    before = sum(map(cpu_s, pids))
    seconds, sent = found.fetch(striped=False)
    return seconds, sum(map(cpu_s, pids)) - before, sent


def run(size: int = SIZE, rounds: int = ROUNDS) -> list[Row]:
    """Each round measures all of them, one after the other."""
    ours, bare, others = [], [], dict[str, list[float]]()
    with swarm(size, [0, 0]) as found:
        folder = found.path.parent
        target = folder / "copy.bin"
        with (
            process("bench.bare_stream", "send", str(found.path)) as sender,
            rsync(found.path, folder) as by_rsync,
            rclone(found.path, folder) as by_rclone,
        ):
            assert sender.stdout is not None
            address = f"127.0.0.1:{int(sender.stdout.readline())}"
            with process("bench.bare_stream", "take", address, str(target)) as taker:
                stream = Bare(sender, taker)
                for _ in range(rounds):
                    ours.append(_ours(found))
                    found.takers[0].ask("forget")
                    bare.append(stream.take(size))
                    for name, copy in (("rsync", by_rsync), ("rclone", by_rclone)):
                        if copy is not None:
                            others.setdefault(name, []).append(_copied(copy(target), target, size))
                    target.unlink(missing_ok=True)
    name = f"transfer: {size >> 20} MiB from one agent to another"
    speed = size / 1e6 / statistics.median(seconds for seconds, _, _ in ours)
    floor = size / 1e6 / statistics.median(seconds for seconds, _ in bare)
    cost = statistics.median(cpu for _, cpu, _ in ours) * GIB / size
    least = statistics.median(cpu for _, cpu in bare) * GIB / size
    return [
        Row(name, speed, "MB/s", "bare stream, hashed and written", floor, 0.8, at_least=True),
        Row(f"{name}, CPU per GiB", cost, "s", "bare stream, hashed and written", least, 1.25),
        *(
            Row(name, speed, "MB/s", by, size / 1e6 / statistics.median(seconds), 1.0, at_least=True)
            for by, seconds in others.items()
        ),
        Row(f"{name}, bytes sent per byte of the model", max(sent for _, _, sent in ours), "x", budget=1.01),
    ]


def _copied(seconds: float, target: Path, size: int) -> float:
    if target.stat().st_size != size:
        raise RuntimeError(f"{target.stat().st_size} bytes were copied of {size}")
    target.unlink()
    return seconds
