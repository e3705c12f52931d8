"""Single looks at an instance over the network."""

from __future__ import annotations

import asyncio
import time

from primacy_wire.server import ListenError, split_address

from primacy_agent.core.probing import Look
from primacy_agent.probes.http_get import HttpFailure, get


async def look_http(url: str, timeout_s: float) -> Look:
    """A GET; 200 to 399 is good."""
    began_ns = time.monotonic_ns()
    try:
        status, _ = await get(url, timeout_s)
    except HttpFailure as failure:
        return Look(False, str(failure), certain=failure.refused, latency_ns=time.monotonic_ns() - began_ns)
    good = 200 <= status < 400
    return Look(good, "" if good else f"answered {status}", latency_ns=time.monotonic_ns() - began_ns)


async def look_tcp(address: str, timeout_s: float) -> Look:
    """A connection that is taken is good."""
    began_ns = time.monotonic_ns()
    try:
        host, port = split_address(address)
    except ListenError as error:
        return Look(False, str(error))
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Look(False, f"no connection within {timeout_s:g} s", latency_ns=time.monotonic_ns() - began_ns)
    except ConnectionRefusedError:
        return Look(False, "connection refused", certain=True, latency_ns=time.monotonic_ns() - began_ns)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that no name server could be asked for
        return Look(False, getattr(error, "strerror", "") or str(error), latency_ns=time.monotonic_ns() - began_ns)
    latency_ns = time.monotonic_ns() - began_ns
    writer.transport.abort()
    return Look(True, latency_ns=latency_ns)
