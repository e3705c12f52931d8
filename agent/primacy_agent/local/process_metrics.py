"""What the agent's own process uses, under the names that every client of Prometheus gives it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

HEADS = {
    "process_cpu_seconds_total": ("counter", "Total user and system CPU time spent in seconds."),
    "process_resident_memory_bytes": ("gauge", "Resident memory size in bytes."),
    "process_start_time_seconds": ("gauge", "Start time of the process since unix epoch in seconds."),
    "process_open_fds": ("gauge", "Number of open file descriptors."),
}
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BOOTED_S = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
"""Once, so that a clock that is set does not look like another start."""
_SELF = Path("/proc/self")


def figures() -> Iterator[tuple[str, float]]:
    """(name, value); without /proc there are none."""
    try:
        stat = (_SELF / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        open_count = len(os.listdir(_SELF / "fd"))
    except OSError:
        return
    # Fields 14, 15, 22 and 24 of proc(5); what stands before the third was cut off.
    user, system, began, pages = (int(stat[number - 3]) for number in (14, 15, 22, 24))
    yield "process_cpu_seconds_total", (user + system) / _TICKS
    yield "process_resident_memory_bytes", pages * _PAGE
    yield "process_start_time_seconds", _BOOTED_S + began / _TICKS
    yield "process_open_fds", open_count
