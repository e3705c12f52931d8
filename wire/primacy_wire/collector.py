"""How often Python looks for garbage that only its collector can find."""

from __future__ import annotations

import gc

YOUNG_COUNT, MIDDLE_ROUNDS, OLD_ROUNDS = 10_000, 10, 20
"""A look at the young after so many new containers, at the middle-aged after so many looks, at all after so many of
those."""


def calm_collector() -> None:
    """Once, when a process has loaded what it keeps: leave that alone, and look at everything seldom.

    With its defaults Python walks over everything that is kept whenever that has grown by a quarter, and nothing else
    runs meanwhile: a busy log of ten thousand entries stood still for 80 ms in each second. What is kept has no cycles,
    so nearly all garbage goes by its count of references; the rest is found by the looks at the young.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_COUNT, MIDDLE_ROUNDS, OLD_ROUNDS)
