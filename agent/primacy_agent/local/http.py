"""A few pages over HTTP/1.1 for proxies, scripts and Prometheus. GET and HEAD only; no framework."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

import h11
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from primacy_wire.server import listening_at, split_address

from primacy_agent.local.answers import READ, WRITE, Answers
from primacy_agent.local.metrics import render_metrics
from primacy_agent.local.standby import BadQuery, judge, lag_limit
from primacy_agent.node import Node

logger = logging.getLogger(__name__)

IDLE_S = 60.0
READ_BYTES = 16_384
CONNECTIONS_MAX = 500


@dataclass(frozen=True, slots=True)
class Page:
    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _json_page(status: int, content: object, headers: dict[str, str] | None = None) -> Page:
    return Page(status, "application/json", json.dumps(content, indent=1).encode() + b"\n", headers or {})


def message_json(message: Message) -> object:
    """proto3 JSON with defaults, as grpcurl prints it."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


class HttpServer:
    """Serves the agent's pages until `close`."""

    def __init__(self, node: Node, answers: Answers) -> None:
        self._node = node
        self._answers = answers
        self._pages: dict[str, Callable[[str], Page]] = {
            "/active": self._active,
            "/standby": self._standby,
            "/healthz": self._healthz,
            "/weights": self._weights,
            "/weights/write": self._write_weights,
            "/metrics": self._metrics,
        }
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, address: str) -> int:
        """Bind and return the port. Raises ListenError, PortInUse."""
        host, port = split_address(address)
        with listening_at(address):
            self._server = await asyncio.start_server(self._serve, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- pages

    def _active(self, _: str) -> Page:
        answer = self._answers.active()
        return _json_page(200 if answer.active else 503, message_json(answer), {"Primacy-Epoch": str(answer.epoch)})

    def _standby(self, query: str) -> Page:
        try:
            limit_ns = lag_limit(query)
        except BadQuery as error:
            return _json_page(400, {"error": str(error)})
        node = self._node
        view = node.active()
        answer = judge(view.phase, node.probes.health, node.lag, limit_ns)
        return _json_page(503 if answer.reason else 200, answer.content(), {"Primacy-Epoch": str(view.epoch)})

    def _healthz(self, _: str) -> Page:
        node = self._node
        superseded = node.holder.superseded
        content = {
            "status": "superseded" if superseded else "ok",
            "agent": node.key,
            "coordinator": {"connected": node.session.connected, "address": node.session.coordinator},
            "reason": superseded or node.session.last_error if not node.session.connected else "",
        }
        return _json_page(503 if superseded else 200, content)

    def _weights(self, _: str) -> Page:
        return _json_page(200, message_json(self._answers.weights(READ)))

    def _write_weights(self, _: str) -> Page:
        return _json_page(200, message_json(self._answers.weights(WRITE)))

    def _metrics(self, _: str) -> Page:
        return Page(200, "text/plain; version=0.0.4; charset=utf-8", render_metrics(self._node).encode())

    def _page(self, request: h11.Request) -> Page:
        target = request.target.decode("ascii", errors="replace")
        path, _, query = target.partition("?")
        page = self._pages.get(path)
        if page is None:
            return _json_page(404, {"error": f"no page {path}: there are {', '.join(sorted(self._pages))}"})
        if request.method not in (b"GET", b"HEAD"):
            return _json_page(405, {"error": "only GET and HEAD"}, {"Allow": "GET, HEAD"})
        return page(query)

    # ---- the protocol

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # The other side is gone or idle: there is nobody to tell.
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        request: h11.Request | None = None
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                if connection.our_state is h11.IDLE or connection.our_state is h11.SEND_RESPONSE:
                    page = _json_page(error.error_status_hint, {"error": str(error)}, {"Connection": "close"})
                    await self._send(connection, writer, page)
                return
            match event:
                case h11.NEED_DATA:
                    async with asyncio.timeout(IDLE_S):
                        connection.receive_data(await reader.read(READ_BYTES))
                case h11.Request():
                    request = event
                case h11.EndOfMessage() if request is not None:
                    await self._answer(connection, writer, request)
                    if connection.our_state is h11.MUST_CLOSE:
                        return
                    connection.start_next_cycle()
                    request = None
                case h11.Data():
                    pass
                case _:
                    return

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, request: h11.Request) -> None:
        await self._send(connection, writer, self._page(request), with_body=request.method != b"HEAD")

    async def _send(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, page: Page, with_body: bool = True
    ) -> None:
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            *page.headers.items(),
        ]
        parts = [
            connection.send(
                h11.Response(status_code=page.status, headers=headers, reason=HTTPStatus(page.status).phrase)
            )
        ]
        if with_body:
            parts.append(connection.send(h11.Data(data=page.body)))
        parts.append(connection.send(h11.EndOfMessage()))
        writer.write(b"".join(part for part in parts if part))
        await writer.drain()
