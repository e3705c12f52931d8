"""Where the shells read the clocks. The cores never do."""

from __future__ import annotations

import time
from pathlib import Path

from primacy_wire.instant import Now

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def read_now() -> Now:
    """Both clocks, read together: CLOCK_BOOTTIME, then UTC."""
    return Now(time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())


def boot_id() -> str:
    """Which start of the machine CLOCK_BOOTTIME counts from: an instant kept under another id means nothing now."""
    return _BOOT_ID_FILE.read_text(encoding="ascii").strip()
