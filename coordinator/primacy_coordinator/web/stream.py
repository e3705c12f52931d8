"""`GET /api/stream?group=G`: a group live, as server-sent events.

    hello         once: group, the coordinator's version, time and gRPC address, and whether this browser may act
    status        GetStatus without events: at every change, at most every 250 ms, and at least once a second
    journal       one event of the journal; `id:` is its sequence, with which a browser resumes
    alerts        ListAlerts, when it changed
    replication   GetReplicationStatus, when it changed, at most once a second
    trouble       the status cannot be read now, and why
    gap           events of the journal were passed over: ListEvents has them
    closing       no more will come from this coordinator now; come again

A browser that is gone, or that takes nothing for `server.UNTAKEN_SECONDS_MAX`, is let go.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from google.protobuf.timestamp_pb2 import Timestamp
from primacy_wire.clock import read_now
from primacy_wire.errors import BadField, Exhausted, InvalidRequest, PrimacyError
from primacy_wire.instant import SECOND_NS
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.web.answers import error_answer
from primacy_coordinator.web.feed import Feed, Listener, Sources
from primacy_coordinator.web.frames import PACKED_HEAD, Frame, frame_of
from primacy_coordinator.web.guard import Guard
from primacy_coordinator.web.server import ABORT
from primacy_coordinator.web.static import accepted_encodings

LISTENERS_COUNT_MAX = 500
SLOW_S = 0.05
"""A browser that takes so long once is handed the next piece only when it has room for it: then it is the newest."""
END_S_MAX = 0.5
"""How long a browser may take to hear that the coordinator stops."""
RETRY_MS = (500, 1500)
"""After how long a browser comes again: each one another time, so that not all come at once."""
NUMBER_MAX = (1 << 63) - 1
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"vary", b"Accept-Encoding"),
    (b"x-accel-buffering", b"no"),  # nginx hands it on at once
]


class Streams:
    """Every feed, and who listens to it."""

    def __init__(self, find: Callable[[str], Runner], sources: Sources, guard: Guard, about: dict[str, str]) -> None:
        """`find`: the group of that name; raises `PrimacyError`. `about`: what every browser is told at first."""
        self.listener_count = 0
        self._find = find
        self._sources = sources
        self._guard = guard
        self._about = about
        self._feeds: dict[str, Feed] = {}
        self._closing = ""

    async def answer(self, request: Request) -> Response:
        try:
            self._guard.check_origin(request.headers)
            runner = self._find(request.query_params.get("group", ""))
            position = _position(request)
            if self._closing:
                raise Exhausted(self._closing, "STOPPING", SECOND_NS)
            if self.listener_count >= LISTENERS_COUNT_MAX:
                raise Exhausted(f"{LISTENERS_COUNT_MAX} streams are open already", "STREAMS_TOO_MANY", 5 * SECOND_NS)
        except PrimacyError as error:
            return error_answer(error)
        off = self._guard.actions_off(request.headers)
        # The time, for a browser whose clock is wrong: what it asks for "for an hour" must not end now.
        time = Timestamp()
        time.FromNanoseconds(read_now().wall_ns)
        hello = {
            **self._about,
            "group": runner.name,
            "time": time.ToJsonString(),
            "actions": not off,
            "actionsOff": off,
        }
        abort: Callable[[], None] = request.scope["state"][ABORT]
        packs = "gzip" in accepted_encodings(request.headers.get("accept-encoding", ""))
        return _StreamAnswer(self, runner, Listener(position, abort, packs), hello)

    def close(self, reason: str) -> None:
        """Ends every stream, with a word."""
        self._closing = reason
        for feed in tuple(self._feeds.values()):
            feed.end(reason)
            asyncio.get_running_loop().call_later(END_S_MAX, feed.abort_all)

    def join(self, runner: Runner, listener: Listener) -> Feed:
        feed = self._feeds.get(runner.name)
        if feed is None or feed.ended:
            feed = self._feeds[runner.name] = Feed(runner, self._sources)
        feed.join(listener)
        self.listener_count += 1
        return feed

    def leave(self, feed: Feed, listener: Listener) -> None:
        feed.leave(listener)
        self.listener_count -= 1
        if not feed.listener_count:
            feed.end("nobody listens")
            if self._feeds.get(feed.group) is feed:
                del self._feeds[feed.group]


class _StreamAnswer(Response):
    """One browser's stream. It has no queue: what is new to it is taken when the one before is handed over."""

    def __init__(self, streams: Streams, runner: Runner, listener: Listener, hello: dict[str, object]) -> None:
        super().__init__()
        self._streams = streams
        self._runner = runner
        self._listener = listener
        self._hello = hello

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            await send({"type": "http.response.body", "body": b""})
            return
        listener = self._listener
        feed = self._streams.join(self._runner, listener)
        watching = asyncio.create_task(_watch(receive, listener))
        clock = asyncio.get_running_loop().time
        slow = False
        try:
            headers = [*HEADERS, (b"content-encoding", b"gzip")] if listener.packs else list(HEADERS)
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            retry = Frame(b"retry: %d\n" % random.randint(*RETRY_MS))
            piece = listener.bytes_of([retry, frame_of("hello", self._hello)])
            if listener.packs:
                piece = PACKED_HEAD + piece
            while piece:
                began = clock()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                slow = slow or clock() - began > SLOW_S
                if slow:
                    # Returns when there is room.
                    await send({"type": "http.response.body", "body": b"", "more_body": True})
                piece = await feed.take(listener)
            if not listener.gone:
                last = listener.bytes_of([frame_of("closing", {"reason": feed.ended})])
                await send({"type": "http.response.body", "body": last})
        finally:
            watching.cancel()
            self._streams.leave(feed, listener)


async def _watch(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.leave()


def _position(request: Request) -> int | None:
    """The last entry that the browser has seen: it says so by itself when it comes again, or its page does."""
    asked = request.query_params.get("after")
    text = request.headers.get("last-event-id") or asked
    if not text:
        return None
    if text.isascii() and text.isdigit() and int(text[:20]) <= NUMBER_MAX:
        return int(text)
    if asked == text:
        raise InvalidRequest(BadField("after", "must be the sequence of an event, 0 or more", "OUT_OF_RANGE"))
    return None
