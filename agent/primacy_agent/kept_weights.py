"""The last weights that came, kept on disk: an agent that was restarted hands them on before any coordinator answers
(I6).

They are for traffic alone. What a lease rests on is never read from here: who is active, the session says.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from google.protobuf import json_format
from primacy.v1 import agent_service_pb2
from primacy_wire.errors import InvalidRequest
from primacy_wire.messages import WeightsUpdate
from primacy_wire.session_codec import to_agent_from_proto, to_agent_to_proto

from primacy_agent.kept_file import KeptFile
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

FILE = "weights.json"


class KeptWeights:
    def __init__(self, folder: Path, group: str, region: str, tasks: Tasks) -> None:
        """Read what an earlier life kept. What is damaged, or of another group or region, is left aside."""
        self.update: WeightsUpdate | None = None
        """What an earlier life kept."""
        self.received_wall_ns = 0
        """When it came."""
        self._owner = {"group": group, "region": region}
        self._file = KeptFile(folder / FILE, "the weights", tasks)
        try:
            self._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, json_format.ParseError, InvalidRequest) as error:
            logger.warning(
                "the kept weights cannot be used", extra={"path": str(self._file.path), "reason": str(error)}
            )

    def _read(self) -> None:
        kept = json.loads(self._file.path.read_bytes())
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
        self._file.keep(
            lambda: {
                "owner": self._owner,
                "receivedWallNs": received_wall_ns,
                "weights": json_format.MessageToDict(to_agent_to_proto(update).weights),
            }
        )

    def close(self) -> None:
        """Write what waits. The agent's tasks have ended."""
        self._file.close()
