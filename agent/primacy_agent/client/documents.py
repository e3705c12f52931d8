"""Configuration documents that a service follows: read once for each change, not at each ask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.agent.v1.local_service_pb2_grpc import LocalServiceStub
from primacy_wire.rpc_errors import from_rpc_error

from primacy_agent.client.errors import NoDocument, NotReady
from primacy_agent.client.following import Follower

logger = logging.getLogger("primacy_agent.client")

CALL_S = 2.0


@dataclass(frozen=True, slots=True)
class Document:
    """A document as this region has it. Do not change its value: all who ask get the same one."""

    key: str
    value: Any
    """What it says, as `json.loads` or a YAML reader would give it."""
    version: int
    """0: it was written here while no coordinator was heard, and has no number yet."""
    format: str
    """`json` or `yaml`."""
    content: bytes


class _Stream:
    """What there is now, then each change. A watch alone never says that there is nothing."""

    def __init__(self, stub: LocalServiceStub, group: str, key: str) -> None:
        self._watch = stub.WatchConfig(pb.WatchConfigRequest(group=group, key=key))
        self._get = stub.GetConfig.future(pb.GetConfigRequest(group=group, key=key), timeout=CALL_S)
        self._key = key

    def __iter__(self) -> Iterator[pb.Config]:
        try:
            yield self._get.result().config
        except grpc.RpcError as error:
            if from_rpc_error(error).code != "NOT_FOUND":
                raise
            yield pb.Config(key=self._key, removed=True)
        for message in self._watch:
            yield message.config

    def cancel(self) -> None:
        self._watch.cancel()
        self._get.cancel()


class _Followed:
    """One key."""

    def __init__(self, stub: LocalServiceStub, group: str, key: str) -> None:
        self.key = key
        self.document: Document | None = None
        self.known = threading.Event()
        """Set once it is known whether there is one."""
        self.follower = Follower(f"document {key}", lambda: _Stream(stub, group, key), self._take)
        self.follower.start()

    def _take(self, config: pb.Config) -> None:
        from primacy_wire import documents  # YAML is for those who have documents.

        if config.removed:
            self.document = None
        else:
            try:
                value = documents.read(config.content, config.format, config.key)
            except documents.BadDocument as error:  # The agent checked it, so this is an older reader.
                logger.warning("document %s cannot be read: %s; the one before stays", config.key, error)
                return
            self.document = Document(config.key, value, config.version, config.format, config.content)
        self.known.set()


class Documents:
    """Follows a key from the first time that it is asked for."""

    def __init__(self, stub: LocalServiceStub, group: str) -> None:
        self._stub = stub
        self._group = group
        self._followed: dict[str, _Followed] = {}
        self._lock = threading.Lock()

    def get(self, key: str, timeout_s: float) -> Document:
        """Raises NoDocument, NotReady."""
        followed = self._followed.get(key)
        if followed is None:
            with self._lock:
                followed = self._followed.get(key)
                if followed is None:
                    followed = self._followed[key] = _Followed(self._stub, self._group, key)
        if not followed.known.is_set() and not followed.known.wait(timeout_s):
            raise NotReady(f"document {key}: {followed.follower.trouble}")
        document = followed.document
        if document is None:
            raise NoDocument(f"there is no document {key!r}")
        return document

    def stop(self) -> list[Follower[Any]]:
        """Raises nothing; the followers end soon."""
        with self._lock:
            followers = [followed.follower for followed in self._followed.values()]
        for follower in followers:
            follower.stop()
        return followers
