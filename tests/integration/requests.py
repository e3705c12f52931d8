"""Requests to a proxy that are answered by some region: how many by which, and how many by none."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from types import TracebackType

FAILED = "failed"


def send(address: str, count: int, headers: dict[str, str] | None = None, path: str = "/healthz") -> Counter[str]:
    """So many GETs over one connection: region -> answers; what failed, by `failed` and the status."""
    found: Counter[str] = Counter()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        for _ in range(count):
            found[_one(connection, headers or {}, path)] += 1
    finally:
        connection.close()
    return found


def _one(connection: http.client.HTTPConnection, headers: dict[str, str], path: str) -> str:
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"{FAILED}: {error!r}"
    return answer.headers.get("Primacy-Region", "") if answer.status == 200 else f"{FAILED}: {answer.status}"


def shares(found: Counter[str]) -> dict[str, float]:
    """Region -> percent. Nothing may have failed."""
    assert not failures(found), found
    return {region: 100 * count / found.total() for region, count in found.items()}


def failures(found: Counter[str]) -> int:
    return sum(count for what, count in found.items() if what.startswith(FAILED))


class Load:
    """Requests without a pause from several clients, until the end of the block."""

    def __init__(self, address: str, clients: int = 4) -> None:
        self._address = address
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self._lock = threading.Lock()
        self._turn = 0
        self.all: Counter[str] = Counter()
        self.since: Counter[str] = Counter()
        """Of requests that began after the last `restart`."""

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._stopping.is_set():
            turn = self._turn
            answer = _one(connection, {}, "/healthz")
            with self._lock:
                self.all[answer] += 1
                if turn == self._turn:
                    self.since[answer] += 1
        connection.close()

    def restart(self) -> None:
        """Count anew."""
        with self._lock:
            self._turn += 1
            self.since = Counter()
