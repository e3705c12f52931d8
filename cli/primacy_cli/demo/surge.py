"""More predictions than one service can serve, for a while: its line grows, and so do its latency and utilisation."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence

from primacy_wire.daemon import follow_parent
from primacy_wire.http_client import HttpFailure, request

from primacy_cli.demo.model import INPUTS

ANSWER_S_MAX = 5.0
PAUSE_S = 0.1
"""Before a client tries again who was refused."""


async def _ask(url: str, until_s: float) -> None:
    """One client, who asks again as soon as there is an answer."""
    body = json.dumps({"inputs": [0.5] * INPUTS}).encode()
    while time.monotonic() < until_s:
        try:
            answer = await request("POST", url, body, timeout_s=ANSWER_S_MAX)
        except HttpFailure:
            await asyncio.sleep(PAUSE_S)
        else:
            if answer.status != 200:
                await asyncio.sleep(PAUSE_S)


async def _run(address: str, clients: int, seconds: float) -> None:
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(_ask(f"http://{address}/predict", until_s) for _ in range(clients)))


def main(argv: Sequence[str] | None = None) -> int:
    follow_parent()
    parser = argparse.ArgumentParser(description="Overload one demo service for a while.")
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--clients", required=True, type=int, metavar="N", help="requests that are always under way")
    parser.add_argument("--seconds", required=True, type=float, metavar="S")
    arguments = parser.parse_args(argv)
    asyncio.run(_run(arguments.address, arguments.clients, arguments.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
