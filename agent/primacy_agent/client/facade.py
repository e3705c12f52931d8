"""The client itself: puts the parts together, and keeps them going."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final

import grpc
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy.v1.routing_pb2 import TRAFFIC_CLASS_READ, TRAFFIC_CLASS_WRITE
from primacy_wire.channel import ClientTls, make_sync_channel
from primacy_wire.rpc_errors import from_rpc_error

from primacy_agent.client.authority import Authority, AuthorityWatch
from primacy_agent.client.documents import Document, Documents
from primacy_agent.client.errors import Closed, Forked, NoDocument, NotReady
from primacy_agent.client.following import Follower, logger
from primacy_agent.client.picks import Pick, Picks, Weights

AGENT_DEFAULT = "127.0.0.1:7410"
COUNT_EVERY_S = 1.0
CALL_S = 2.0
READY_S = 10.0
RETRIED = ("UNAVAILABLE", "DEADLINE_EXCEEDED")
_RAISE: Final = object()


class Client:
    """Follows one agent until `close`. Every method may be called from any thread.

    Making one neither waits nor fails when the agent is away: `wait_ready` does. After a fork make a new one in the
    child: there the parent's is never active, and raises `Forked` for all else.
    """

    def __init__(self, agent: str = "", *, group: str = "", tls: ClientTls | None = None) -> None:
        """`agent`: `host:port` or `unix:PATH`; empty: $PRIMACY_AGENT, else 127.0.0.1:7410. `group`: empty means the
        agent's own. Raises OSError for files of `tls` that cannot be read."""
        self.agent = agent or os.environ.get("PRIMACY_AGENT", "") or AGENT_DEFAULT
        self._group = group
        self._channel = make_sync_channel(self.agent, tls)
        stub = self._stub = LocalServiceStub(self._channel)
        self._authority = AuthorityWatch()
        self._picks = Picks(self._authority.now)
        self._documents = Documents(stub, group)
        self._followers: list[Follower[Any]] = [
            Follower("authority", lambda: stub.WatchActive(pb.WatchActiveRequest(group=group)), self._authority.take),
            Follower("weights", lambda: stub.WatchWeights(pb.WatchWeightsRequest(group=group)), self._picks.take),
        ]
        self._unfit: type[Closed] | type[Forked] | None = None
        self._stop = threading.Event()
        self._counting = threading.Thread(target=self._count_on, name="primacy counts", daemon=True)
        _made.add(self)
        for follower in self._followers:
            follower.start()
        self._counting.start()

    def is_active(self) -> bool:
        """Whether this service may act as the active one, by this machine's clock at this ask.

        False once the lease has run out, whatever the agent said last, and while it has said nothing yet.
        """
        return self._authority.is_active()

    @property
    def epoch(self) -> int:
        """For every sink that is written to: the epoch held while active, else the newest heard of; 0: none."""
        return self._authority.now().epoch

    def authority(self) -> Authority:
        """All that is known of authority at this instant, in one value."""
        return self._authority.now()

    def watch(self) -> Iterator[Authority]:
        """What is now, and then each change, until the client is closed. Blocks between changes."""
        return self._authority.changes()

    def pick(self, key: str | None = None, *, write: bool = False) -> Pick:
        """The region for one request from here, and where it is. Counted as `ok`; see `count` for what failed.

        `key`: requests with the same key go to the same region as long as the weights allow it. `write`: to the active
        region. Raises NoRegion.
        """
        if self._unfit is not None:
            raise self._unfit
        return self._picks.write() if write else self._picks.read(key)

    def alternatives(self, region: str) -> list[Pick]:
        """Where to try a read next that failed at `region`, the best first."""
        return self._picks.others(region)

    def count(self, region: str, outcome: str, *, write: bool = False, count: int = 1) -> None:
        """Add to the statistics what became of requests: `error` or `dropped`, for instance."""
        self._picks.count(region, TRAFFIC_CLASS_WRITE if write else TRAFFIC_CLASS_READ, outcome, count)

    def weights(self) -> Weights:
        """The weights that picks follow, and how old they are. Raises NoRegion before the first ones came."""
        return self._picks.weights()

    def document(self, key: str, *, timeout_s: float = READY_S) -> Document:
        """A configuration document as it is in force here.

        The first ask for a key waits for the agent, at most `timeout_s`; from then on it is followed, and asking costs
        nothing. Raises NoDocument, NotReady.
        """
        if self._unfit is not None:
            raise self._unfit
        return self._documents.get(key, timeout_s)

    def config(self, key: str, default: Any = _RAISE, *, timeout_s: float = READY_S) -> Any:
        """What the document says; `default`, if given, when there is none. Raises like `document`."""
        try:
            return self.document(key, timeout_s=timeout_s).value
        except NoDocument:
            if default is _RAISE:
                raise
            return default

    @property
    def trouble(self) -> str:
        """What keeps the client from following its agent now; empty: nothing."""
        return next((follower.trouble for follower in self._followers if follower.trouble), "")

    def wait_ready(self, timeout_s: float = READY_S) -> None:
        """Wait until authority and weights are known. Raises NotReady with what stands in the way."""
        end = time.monotonic() + timeout_s
        while self.trouble or not self._picks.known.is_set():
            if self._unfit is not None:
                raise self._unfit
            if time.monotonic() >= end:
                raise NotReady(f"agent {self.agent}: {self.trouble or 'it knows no weights yet'}")
            time.sleep(0.01)

    # ---- life

    def close(self) -> None:
        """Tell the agent what was counted last, and stop. From then on it is never active."""
        if self._unfit is not None:
            return
        self._unfit = Closed
        self._stop.set()
        self._counting.join(COUNT_EVERY_S + CALL_S)
        followers = [*self._followers, *self._documents.stop()]
        for follower in self._followers:
            follower.stop()
        self._channel.close()
        for follower in followers:
            follower.join()
        self._authority.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _count_on(self) -> None:
        """Tell the agent every second what was picked, and once more at the end."""
        ended = False
        while not ended:
            ended = self._stop.wait(COUNT_EVERY_S)
            counts = self._picks.drain()
            if not counts:
                continue
            try:
                self._stub.CountRoutes(pb.CountRoutesRequest(group=self._group, counts=counts), timeout=CALL_S)
            except grpc.RpcError as error:
                if from_rpc_error(error).code in RETRIED:
                    self._picks.put_back(counts)
                else:
                    logger.warning("the agent takes no counts: %s", error)
            except ValueError:
                return  # The channel is closed.

    def _disown(self) -> None:
        self._unfit = Forked
        self._authority.disown()


_made: weakref.WeakSet[Client] = weakref.WeakSet()


def _forked() -> None:
    for client in list(_made):
        client._disown()


os.register_at_fork(after_in_child=_forked)
