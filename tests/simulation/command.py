"""`scripts/simulate`: many schedules on all processors."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from contextlib import nullcontext

from tests.simulation.focus import options_for
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.world.options import Broken
from tests.simulation.world.schedules import run_seed


def _run(task: tuple[int, str]) -> tuple[int, Counter[str], str]:
    seed, name = task
    with mutated(name) if name else nullcontext():
        try:
            return seed, run_seed(seed, options_for(name, seed) if name else None), ""
        except Broken as error:
            return seed, Counter(), str(error)
        except AssertionError as error:
            return seed, Counter(), f"an assertion of the cores failed in seed {seed}: {error!r}"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/simulate",
        description="Runs fault schedules: the real cores of coordinator and agents under a virtual clock. "
        "A failure prints its seed and the way there; the same seed fails again.",
        epilog="Example: scripts/simulate --seeds 1000; scripts/simulate --first 4711 --seeds 1",
    )
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="how many schedules (default 300)")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the first seed (default 0)")
    parser.add_argument("--mutate", choices=sorted(MUTATIONS), metavar="NAME", help="drop one rule on purpose")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="J", help="processes (default: all)")
    arguments = parser.parse_args()
    began_s = time.monotonic()
    tasks = [(seed, arguments.mutate or "") for seed in range(arguments.first, arguments.first + arguments.seeds)]
    counts: Counter[str] = Counter()
    broken = 0
    with multiprocessing.get_context("spawn").Pool(max(1, arguments.jobs)) as pool:
        for done, (seed, found, error) in enumerate(pool.imap_unordered(_run, tasks, chunksize=4), start=1):
            counts += found
            if error:
                broken += 1
                print(error if broken == 1 else error.splitlines()[0])
            if sys.stderr.isatty():
                print(f"\r{done}/{len(tasks)} schedules, last seed {seed}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for what, count in sorted(counts.items()):
        print(f"{count:9,}  {what}")
    print(f"{len(tasks)} schedules in {time.monotonic() - began_s:.1f} s: {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
