"""Keeps one stream of the agent's going, in a thread of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

import grpc
from primacy_wire.backoff import Backoff
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.rpc_errors import from_rpc_error

logger = logging.getLogger("primacy_agent.client")

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)
AGAIN_NS_FIRST = 50 * MILLISECOND_NS
AGAIN_NS_MOST = SECOND_NS
"""The agent is on this machine: asking it again costs little."""
JOIN_S = 2.0


class Stream(Protocol[M_co]):
    """A running call."""

    def __iter__(self) -> Iterator[M_co]: ...

    def cancel(self) -> object: ...


class Follower(Generic[M]):
    """Takes every message of a stream, and opens the stream anew whenever it has ended."""

    def __init__(self, what: str, open_stream: Callable[[], Stream[M]], take: Callable[[M], None]) -> None:
        self.trouble = "the agent has not answered yet"
        """Why nothing is followed now; empty while it is."""
        self._what = what
        self._open = open_stream
        self._take = take
        self._stop = threading.Event()
        self._stream: Stream[M] | None = None
        self._thread = threading.Thread(target=self._run, name=f"primacy {what}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends soon; `join` waits for that."""
        self._stop.set()
        stream = self._stream
        if stream is not None:
            stream.cancel()

    def join(self) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        backoff = Backoff(random.Random(), AGAIN_NS_FIRST, AGAIN_NS_MOST)
        while not self._stop.is_set():
            reason = "the agent ended it"
            try:
                self._stream = stream = self._open()
                if self._stop.is_set():
                    stream.cancel()
                for message in stream:
                    self._take(message)
                    if self.trouble:
                        logger.info("%s: followed", self._what)
                    self.trouble = ""
                    backoff.reset()
            except grpc.RpcError as error:
                failure = from_rpc_error(error)
                reason = f"{failure.code}: {failure.message}"
            except ValueError as error:  # The channel is closed: gRPC says so like that.
                reason = str(error)
            except Exception as error:
                logger.exception("%s: a message could not be taken", self._what)
                reason = str(error)
            if not self.trouble and not self._stop.is_set():
                logger.warning("%s: no longer followed: %s", self._what, reason)
            self.trouble = reason
            self._stop.wait(backoff.next_ns() / SECOND_NS)
