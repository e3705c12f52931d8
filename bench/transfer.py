"""How fast a model comes from one agent to another, against a bare gRPC stream of the same bytes in the same run.

The bare stream's bytes are received and dropped. Ours are read from chunks that are verified as they are read, sent,
verified as they come, written, and noted so that a kill loses nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path

from bench.bare_stream import receive
from bench.rows import Row
from bench.swarm import process, swarm, write_random

SIZE = 512 << 20
ROUNDS = 3


def _bare(path: Path, rounds: int) -> list[float]:
    with process("bench.bare_stream", str(path)) as child:
        assert child.stdout is not None
        address = f"127.0.0.1:{int(child.stdout.readline())}"
        times = []
        for _ in range(rounds):
            size, seconds = asyncio.run(receive(address))
            if size != path.stat().st_size:
                raise RuntimeError(f"the bare stream brought {size} bytes")
            times.append(seconds)
        return times


def run(size: int = SIZE, rounds: int = ROUNDS) -> list[Row]:
    with swarm(size, [0, 0]) as found:
        ours = [found.fetch(striped=False) for _ in range(rounds)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.bin"
        write_random(path, size)
        bare = _bare(path, rounds)
    return [
        Row(
            f"transfer: {size >> 20} MiB from one agent to another",
            size / 1e6 / statistics.median(seconds for seconds, _ in ours), "MB/s",
            "bare stream", size / 1e6 / statistics.median(bare),
        ),
        Row("transfer: bytes sent per byte of the model", max(sent for _, sent in ours), "x", budget=1.01),
    ]  # fmt: skip
