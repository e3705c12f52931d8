"""The answers to HAProxy's agent checks: one connection, one line asked, one line answered.

HAProxy asks for each server line again and again (`agent-inter`), and follows what it hears. What it does not hear, or
not understand, changes nothing: an empty line is the answer to a question that nobody can answer, and an agent that is
dead leaves the weights as they were.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS
from primacy_wire.server import listening_at, split_address

from primacy_agent.core.agent_checks import answers
from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.outputs import Figure, Tell

LINE_BYTES_MAX = 256
"""The longest question has 136: two names of 63 and what stands between and behind them."""
LINE_S = 0.5
"""So long a client may take for its line; then what has come is the line."""
CONNECTIONS_MAX = 1_000
"""At once: each is there for less than LINE_S. HAProxy tries again by itself."""
TROUBLE_NS = 60 * SECOND_NS
"""What went wrong is shown for so long after the last time."""
AGAIN_NS = 500 * SECOND_NS
"""What goes on is told again after so long: the coordinator takes it for over after 600 s."""
TOLD_MAX = 20
"""So many different questions are told of; what asks more than that is no HAProxy."""
ANSWERED, UNKNOWN, EARLY, SILENT, REFUSED = "answered", "unknown", "early", "silent", "refused"
OUTCOMES = (ANSWERED, UNKNOWN, EARLY, SILENT, REFUSED)


class HaproxyChecks:
    """Output `haproxy`."""

    name = "haproxy"

    def __init__(self, address: str, group: str, tell: Tell) -> None:
        self.address = address
        self.version = 0
        self.counts: Counter[str] = Counter()
        """Connections by what became of them."""
        self._group = group
        self._tell = tell
        self._answers: dict[str, str] = {}
        self._seen: set[str] = set()
        """Regions that this life has known."""
        self._told: dict[str, int] = {}
        """Fault to when it was told last."""
        self._fault = ""
        self._fault_ns = -TROUBLE_NS
        self._fault_line = ""
        """What was asked then: once that is known, as when a region was new, nothing is wrong any more."""
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    # ---- as an output

    @property
    def trouble(self) -> str:
        is_over = self._fault_line in self._answers or read_now().mono_ns - self._fault_ns >= TROUBLE_NS
        return "" if is_over else self._fault

    def apply(self, traffic: Traffic) -> None:
        self._answers = answers(traffic, self._seen)
        self._seen.update(traffic.regions)
        self.version = traffic.version

    def figures(self) -> Iterator[Figure]:
        for outcome in OUTCOMES:
            yield Figure("haproxy_checks_total", self.counts[outcome], {"outcome": outcome})

    async def start(self) -> None:
        host, port = split_address(self.address)
        with listening_at(self.address):
            self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES_MAX)
        self.address = f"{self.address.rpartition(':')[0]}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    # ---- the protocol

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            self._note(REFUSED, f"more than {CONNECTIONS_MAX} connections at once: is {self.address} asked by others?")
            return
        self._connections.add(task)
        try:
            asked = await _read_line(reader)
            # Short enough for the socket's own buffer: a client that does not read holds nobody up.
            writer.write(f"{self._answer(asked)}\n".encode())
        except ConnectionError:
            self.counts[SILENT] += 1
        finally:
            self._connections.discard(task)
            writer.close()

    def _answer(self, asked: bytes) -> str:
        """Empty: HAProxy keeps what it has."""
        line = asked.decode("ascii", errors="replace").strip()
        if answer := self._answers.get(line):
            self.counts[ANSWERED] += 1
            return answer
        if not self._answers:
            self.counts[EARLY] += 1
            return ""
        if not line:
            self._note(SILENT, "a check sent no line: its server needs an agent-send, with \\n at its end")
            return ""
        shown = line if line.isprintable() else ascii(line)
        self._note(
            UNKNOWN,
            f"a check asked about {shown!r}, which this agent does not know: agent-send must be "
            f"{self._group}/REGION\\n (reads) or {self._group}.write/REGION\\n, of a region of the group",
            line,
        )
        return ""

    def _note(self, outcome: str, fault: str, line: str = "") -> None:
        """Count it, show it for a while, and tell it now and then."""
        self.counts[outcome] += 1
        now_ns = read_now().mono_ns
        self._fault, self._fault_ns, self._fault_line = fault, now_ns, line
        told_ns = self._told.get(fault)
        if len(self._told) < TOLD_MAX if told_ns is None else now_ns - told_ns >= AGAIN_NS:
            self._told[fault] = now_ns
            self._tell("haproxy-check-unanswered", f"HAProxy agent check: {fault}", True)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """What stands before the first line feed; what has come so far when none comes in time. Raises ConnectionError."""
    kept = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINE_S):
            while b"\n" not in kept and len(kept) < LINE_BYTES_MAX:
                more = await reader.read(LINE_BYTES_MAX - len(kept))
                if not more:
                    break
                kept += more
    return kept.partition(b"\n")[0]
