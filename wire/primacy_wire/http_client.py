"""One HTTP/1.1 request, with a bound on time and on what is read. No redirects, no proxies, no kept connections."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

import h11

from primacy_wire.urls import fault_in

BODY_BYTES_MAX = 64 * 1024
"""So much of an answer is read; what comes after is not waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    retry_after: str = ""
    """The header, if there was one."""


class HttpFailure(Exception):
    """There was no answer."""


def check_url(url: str) -> str:
    """What is wrong with it, or nothing."""
    return fault_in(url, "http", "https") or ("must have no fragment (#...)" if urlsplit(url).fragment else "")


def shown_url(url: str, path: bool = True) -> str:
    """The URL without what may be secret: password and query; and the path, where it often is the secret itself."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    shown = parts.path if path or parts.path in ("", "/") else "/..."
    return f"{parts.scheme}://{host}{shown}" + ("?..." if parts.query else "")


async def request(
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
    trusted: ssl.SSLContext | None = None,
) -> Answer:
    """Sends one request and returns the answer, whatever its status. Raises HttpFailure.

    A user and password in the URL are sent as basic authentication. `trusted` says whose certificates are taken for
    https; None: those of the system's authorities.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    context = (trusted or ssl.create_default_context()) if secure else None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(
                parts.hostname, parts.port or (443 if secure else 80), ssl=context
            )
            try:
                return await _exchange(reader, writer, _head(method, parts, body, headers or {}), body)
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise HttpFailure(f"no answer within {timeout_s:g} s") from None
    except ConnectionRefusedError:
        raise HttpFailure("connection refused") from None
    except h11.RemoteProtocolError as error:
        raise HttpFailure(f"no answer in HTTP: {error}") from error
    except (OSError, UnicodeError, h11.LocalProtocolError) as error:
        raise HttpFailure(str(error) or type(error).__name__) from error


def _head(method: str, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> h11.Request:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    found = {
        "Host": parts.netloc.rpartition("@")[2],
        "Connection": "close",
        "Content-Length": str(len(body)),
        **headers,
    }
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        found["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return h11.Request(method=method, target=target, headers=list(found.items()))


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: h11.Request, body: bytes
) -> Answer:
    connection = h11.Connection(h11.CLIENT)
    for event in (head, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(connection.send(event) or b"")
    await writer.drain()
    status, retry_after, found = 0, "", b""
    while True:
        got = connection.next_event()
        match got:
            case h11.NEED_DATA:
                data = await reader.read(65_536)
                if not data and not status:
                    raise HttpFailure("the connection ended before the answer did")
                connection.receive_data(data)
            case h11.InformationalResponse():
                continue  # The answer itself comes after it.
            case h11.Response():
                status = got.status_code
                retry_after = dict(got.headers).get(b"retry-after", b"").decode("latin-1")
            case h11.Data():
                found += got.data
                if len(found) >= BODY_BYTES_MAX:
                    return Answer(status, found[:BODY_BYTES_MAX], retry_after)
            case h11.EndOfMessage():
                return Answer(status, found, retry_after)
            case _:
                raise HttpFailure("the connection ended before the answer did")
