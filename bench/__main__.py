"""`scripts/bench`: runs the benchmarks and prints a table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bench import (
    appends,
    core_events,
    dashboard,
    dataplanes,
    failover,
    fanout,
    interference,
    memory,
    metrics,
    nasty,
    optimal,
    pick,
    push,
    reports,
    store,
    traffic,
    transfer,
    weights,
    xds,
)
from bench.rows import Row, table, write

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "core": core_events.run,
    "weights": weights.run,
    "optimal": optimal.run,
    "nasty": nasty.run,
    "pick": pick.run,
    "traffic": traffic.run,
    "reports": reports.run,
    "push": push.run,
    "appends": appends.run,
    "memory": memory.run,
    "metrics": metrics.run,
    "xds": xds.run,
    "failover": failover.run,
    "proxies": dataplanes.run,
    "store": store.run,
    "transfer": transfer.run,
    "fanout": fanout.run,
    "interference": interference.run,
    "dashboard": dashboard.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Runs the benchmarks, each against a floor or a budget in the same run.",
        epilog="Example: scripts/bench core reports --json figures.json",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON, too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join(BENCHMARKS)}")
    rows: list[Row] = []
    for name in arguments.names or BENCHMARKS:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        rows += BENCHMARKS[name]()
    print(table(rows))
    if arguments.json:
        write(rows, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
