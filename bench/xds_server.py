"""The agent's xDS server, pushing on order: `python -m bench.xds_server ADDRESS` (see `xds_load.answer_orders`)."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.config import XdsConfig
from primacy_agent.dataplane.xds.output import XdsOutput

from bench.xds_load import REGIONS, answer_orders, weights


class _Counts(Counter[tuple[str, str]]):
    """Says when an ACK is counted."""

    acked: asyncio.Event

    def __setitem__(self, key: tuple[str, str], count: int) -> None:
        super().__setitem__(key, count)
        if key == ("ack", "eds"):
            self.acked.set()


async def main(address: str) -> None:
    output = XdsOutput(XdsConfig(address), 30.0, "shop", lambda *_: None, lambda *_: None)
    acked = asyncio.Event()
    output.discovery.counts = counts = _Counts()
    counts.acked = acked
    await output.start()
    version = 0
    write = tuple((region, float(region == "us")) for region in REGIONS)
    endpoints = tuple((region, "127.0.0.1:9000") for region in REGIONS)

    async def push() -> float:
        nonlocal version
        version += 1
        traffic = Traffic("shop", "us", version, 1, weights(version), write, endpoints)
        acked.clear()
        began = time.perf_counter()
        output.apply(traffic)
        await acked.wait()
        return time.perf_counter() - began

    await answer_orders(push)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
