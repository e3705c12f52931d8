"""A GET over plain HTTP/1.1, with a bound on time and size.

Each has a connection of its own: a look at a service is worth most on the way that a new client takes, and a kept
connection would hide that nobody listens any more.
"""

from __future__ import annotations

import asyncio
import io
from urllib.parse import urlsplit

import h11
from primacy_wire.urls import fault_in

BODY_BYTES_MAX = 2 * 1024 * 1024


def check_url(url: str) -> str:
    """What is wrong with it, or nothing."""
    return fault_in(url, "http")


class HttpFailure(Exception):
    """The answer could not be had; `refused` when nobody listens."""

    def __init__(self, message: str, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


async def get(url: str, timeout_s: float, body_wanted: bool = False) -> tuple[int, bytes]:
    """(status, body); the body is read to its end only when wanted. Raises HttpFailure."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                return await _exchange(reader, writer, parts.netloc, target, body_wanted)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise HttpFailure(f"no answer within {timeout_s:g} s") from None
    except ConnectionRefusedError:
        raise HttpFailure("connection refused", refused=True) from None
    except (OSError, UnicodeError, h11.RemoteProtocolError) as error:
        raise HttpFailure(str(error) or type(error).__name__) from error


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, target: str, body_wanted: bool
) -> tuple[int, bytes]:
    connection = h11.Connection(h11.CLIENT)
    head = connection.send(
        h11.Request(
            method="GET",
            target=target,
            headers=[("Host", host), ("User-Agent", "primacy-agent"), ("Connection", "close")],
        )
    )
    end = connection.send(h11.EndOfMessage())
    writer.write((head or b"") + (end or b""))
    await writer.drain()
    status, body = 0, io.BytesIO()  # Gives its bytes away without another copy of them.
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(65_536))
            case h11.InformationalResponse():
                continue  # The answer itself comes after it.
            case h11.Response():
                status = event.status_code
                if not body_wanted:
                    return status, b""
            case h11.Data():
                body.write(event.data)
                if body.tell() > BODY_BYTES_MAX:
                    raise HttpFailure(f"the answer is longer than {BODY_BYTES_MAX} bytes")
            case h11.EndOfMessage():
                return status, body.getvalue()
            case _:
                raise HttpFailure("the connection ended before the answer did")
