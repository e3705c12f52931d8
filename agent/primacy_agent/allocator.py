"""What the C library does with memory that was freed."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of mallopt(3)."""
KEPT_BYTES, MAPPED_BYTES = 8 << 20, 4 << 20


def keep_freed_memory() -> None:
    """Keep some megabytes for what is needed next, in each thread's arena.

    By default glibc hands every frame's memory back to the kernel and gets new pages for the next one, which have to be
    cleared: a fifth of what a transfer costs. Where the C library has no such setting nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
