"""The agent's xDS server in a process that a test may kill: `python -m tests.integration.xds_server ADDRESS`.

Reads one `primacy_agent.core.traffic.Traffic` a line, as JSON, and says its version when it is published.
"""

from __future__ import annotations

import asyncio
import sys

import msgspec
from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.config import XdsConfig
from primacy_agent.dataplane.xds.output import XdsOutput


async def main(address: str) -> None:
    output = XdsOutput(XdsConfig(address), 30.0, "shop", lambda *_: None, lambda *_: None)
    await output.start()
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        output.apply(msgspec.json.decode(line, type=Traffic))
        print(output.version, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
