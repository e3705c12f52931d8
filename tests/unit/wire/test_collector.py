"""What is loaded is left alone by the collector, and garbage with cycles still goes."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, weakref
from primacy_wire.collector import YOUNG_COUNT, calm_collector

class Knot:
    def __init__(self):
        self.self = self

kept = [{} for _ in range(1000)]
calm_collector()
assert gc.get_freeze_count() >= 1000
knot = weakref.ref(Knot())
assert knot() is not None
more = [[] for _ in range(YOUNG_COUNT + 1)]
assert knot() is None
"""


def test_cycles_go_and_what_is_loaded_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
