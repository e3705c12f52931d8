"""One tiny run of each benchmark that moves models between processes. Their speeds mean nothing here."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from bench import fanout, interference, transfer
from bench.copiers import delta_bytes
from bench.rows import Row

pytestmark = pytest.mark.integration
MIB = 1 << 20


def all_measured(rows: list[Row]) -> bool:
    return all(math.isfinite(row.value) and row.value > 0 for row in rows)


def test_a_transfer_sends_each_byte_once_beside_a_bare_stream() -> None:
    rows = transfer.run(size=8 * MIB, rounds=1)
    assert all_measured(rows)
    assert rows[-1].holds, "bytes sent per byte"
    peers = {program for program in ("rsync", "rclone") if shutil.which(program)}
    assert {row.reference for row in rows} >= peers | {"bare stream, hashed and written"}


def test_a_fan_out_by_plan_sends_each_byte_about_once_though_one_dies() -> None:
    rows = fanout.run(size=12 * MIB, uplink=16 * MIB)
    assert all_measured(rows)
    assert all(row.value < 2 for row in rows if "bytes the origin sent" in row.name)


def test_reports_are_watched_while_a_model_moves() -> None:
    late, _, *memory = interference.run(size=8 * MIB, rounds=1, quiet_s=1.5)
    assert late.value >= 0 and all(row.value > 10 for row in memory)


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is a peer of the benchmarks, not of the product")
def test_what_rsync_moves_is_counted(tmp_path: Path) -> None:
    old = bytes(range(256)) * 8192
    found = delta_bytes(old, old[:MIB] + b"new" * 1000 + old[MIB:], tmp_path)
    assert found is not None and 3_000 < found < len(old)
