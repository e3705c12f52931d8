"""The last weights that came, kept on disk: an agent that was restarted hands them on before any coordinator answers
(I6).

They are for traffic alone. What a lease rests on is never read from here: who is active, the session says.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path

from google.protobuf import json_format
from primacy.v1 import agent_service_pb2
from primacy_wire.daemon import write_file
from primacy_wire.errors import InvalidRequest
from primacy_wire.messages import WeightsUpdate
from primacy_wire.session_codec import to_agent_from_proto, to_agent_to_proto

from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

FILE = "weights.json"
GAP_S = 1.0
"""Between two writes: of weights that change faster, the newest is kept."""


class KeptWeights:
    """Everything but the write itself runs on the event loop's thread."""

    def __init__(self, folder: Path, group: str, region: str, tasks: Tasks) -> None:
        """Read what an earlier life kept. What is damaged, or of another group or region, is left aside."""
        self.update: WeightsUpdate | None = None
        """What an earlier life kept."""
        self.received_wall_ns = 0
        """When it came."""
        self._path = folder / FILE
        self._owner = {"group": group, "region": region}
        self._tasks = tasks
        self._newest: tuple[int, WeightsUpdate, int] | None = None
        """(number, weights, when they came) that wait to be written."""
        self._count = 0
        self._writing: asyncio.Task[None] | None = None
        self._lock = threading.Lock()
        self._written = 0
        """Number of what is on the disk."""
        self._trouble = ""
        try:
            self._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, json_format.ParseError, InvalidRequest) as error:
            logger.warning("the kept weights cannot be used", extra={"path": str(self._path), "reason": str(error)})

    def _read(self) -> None:
        kept = json.loads(self._path.read_bytes())
        if kept["owner"] != self._owner:
            raise ValueError(f"they are of {kept['owner']}, not of {self._owner}")
        message = agent_service_pb2.SessionResponse()
        json_format.ParseDict({"weights": kept["weights"]}, message)
        update = to_agent_from_proto(message)
        received_wall_ns = int(kept["receivedWallNs"])
        if isinstance(update, WeightsUpdate):
            self.update, self.received_wall_ns = update, received_wall_ns

    def keep(self, update: WeightsUpdate, received_wall_ns: int) -> None:
        """Write it soon, unless a newer one comes first."""
        self._count += 1
        self._newest = (self._count, update, received_wall_ns)
        if self._writing is None:
            self._writing = self._tasks.start(self._write_all(), name="weights")

    async def _write_all(self) -> None:
        try:
            while self._newest is not None:
                newest, self._newest = self._newest, None
                await asyncio.to_thread(self._write, *newest)
                await asyncio.sleep(GAP_S)
        finally:
            self._writing = None

    def close(self) -> None:
        """Write what waits. The task that writes has ended."""
        if self._newest is not None:
            self._write(*self._newest)
            self._newest = None

    def _write(self, number: int, update: WeightsUpdate, received_wall_ns: int) -> None:
        content = {
            "owner": self._owner,
            "receivedWallNs": received_wall_ns,
            "weights": json_format.MessageToDict(to_agent_to_proto(update).weights),
        }
        with self._lock:
            if number <= self._written:
                return
            try:
                write_file(self._path, json.dumps(content, indent=1).encode() + b"\n")
            except OSError as error:
                # Traffic does not rest on it while this life goes on, and the next weights try again.
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    logger.warning("the weights cannot be kept", extra={"reason": str(error)})
                return
            self._trouble = ""
            self._written = number
