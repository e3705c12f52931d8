"""What the endpoints' names last stood for, kept on disk: an agent that starts while names cannot be looked up would
take a region's addresses away from proxies that go on well with them (I6)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from primacy_agent.dataplane.addresses import choose
from primacy_agent.kept_file import KeptFile
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

FILE = "addresses.json"


class KeptAddresses:
    def __init__(self, folder: Path, tasks: Tasks) -> None:
        """Read what an earlier life kept. What is damaged is left aside."""
        self.earlier: dict[str, tuple[str, ...]] = {}
        """By name: its addresses, by an earlier life's last look-up that succeeded."""
        self._file = KeptFile(folder / FILE, "the addresses of endpoints", tasks)
        try:
            kept = json.loads(self._file.path.read_bytes())
            self.earlier = {str(host): choose(ips) for host, ips in kept["addresses"].items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            reason = {"path": str(self._file.path), "reason": str(error)}
            logger.warning("the kept addresses of endpoints cannot be used", extra=reason)

    def keep(self, addresses: Mapping[str, tuple[str, ...]]) -> None:
        """Write it soon, unless something newer comes first."""
        kept = {host: list(ips) for host, ips in sorted(addresses.items())}
        self._file.keep(lambda: {"addresses": kept})

    def close(self) -> None:
        """Write what waits. The agent's tasks have ended."""
        self._file.close()
