#!/usr/bin/env python3
"""A worker that runs in every region and works in one: with each piece it says under which epoch it was done.

worker.py FILE     writes `EPOCH READS-GO-TO RATE` into FILE for each piece of work
"""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path

from primacy_agent.client import Client

RATE_KEY = "worker/limits.yaml"
PIECES_PER_SECOND = 20


def main(path: Path) -> None:
    with Client() as primacy, path.open("a", buffering=1) as done:  # The agent: $PRIMACY_AGENT, or 127.0.0.1:7410.
        primacy.wait_ready()
        while True:
            rate = primacy.config(RATE_KEY, {"rate": PIECES_PER_SECOND})["rate"]
            if primacy.is_active():
                # The epoch goes with the write: a sink that has seen a higher one refuses it.
                done.write(f"{primacy.epoch} {primacy.pick().region} {rate}\n")
            time.sleep(1 / rate)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main(Path(sys.argv[1]))
