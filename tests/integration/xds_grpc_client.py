"""A gRPC client that finds its servers by xDS: `python -m tests.integration.xds_grpc_client BOOTSTRAP TARGET`.

Does what it reads, a line each, and answers with a line of JSON:
  calls N     N calls, eight at a time: how many each region answered, or failed and how
  writes N    the same with the header that makes them writes
  hold N      begins N calls that the service holds; nothing is answered
  held        what became of them
  load        begins calls without a pause; nothing is answered
  so far      how many of these each region answered, or failed and how
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter

CALL_S = 20.0


async def main(target: str) -> None:
    import grpc.aio

    channel = grpc.aio.insecure_channel(target)
    where = channel.unary_unary("/test.Regions/Where")

    async def call(found: Counter[str], request: bytes = b"", metadata: tuple[tuple[str, str], ...] = ()) -> None:
        try:
            answer = await where(request, timeout=CALL_S, metadata=metadata)
            found[answer.decode()] += 1
        except grpc.aio.AioRpcError as error:
            found[f"{error.code().name} {error.details()}"] += 1

    async def calls(count: int, metadata: tuple[tuple[str, str], ...] = ()) -> Counter[str]:
        found: Counter[str] = Counter()
        left = iter(range(count))

        async def work() -> None:
            for _ in left:
                await call(found, metadata=metadata)

        await asyncio.gather(*(work() for _ in range(8)))
        return found

    loop = asyncio.get_running_loop()
    held: Counter[str] = Counter()
    holding: list[asyncio.Task[None]] = []
    load: Counter[str] = Counter()
    loading: list[asyncio.Task[None]] = []

    async def on() -> None:
        while True:
            await call(load)

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        match line.split():
            case ["calls", count]:
                print(json.dumps(await calls(int(count))), flush=True)
            case ["writes", count]:
                print(json.dumps(await calls(int(count), (("primacy-class", "write"),))), flush=True)
            case ["hold", count]:
                holding += [asyncio.create_task(call(held, b"hold")) for _ in range(int(count))]
            case ["held"]:
                await asyncio.gather(*holding)
                print(json.dumps(held), flush=True)
            case ["load"]:
                loading += [asyncio.create_task(on()) for _ in range(4)]
            case ["so", "far"]:
                print(json.dumps(load), flush=True)


if __name__ == "__main__":
    os.environ["GRPC_XDS_BOOTSTRAP"] = sys.argv[1]  # Read when gRPC's first channel is made.
    asyncio.run(main(sys.argv[2]))
