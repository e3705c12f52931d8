"""Reads the service's metrics page, and makes a load of its readings."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from primacy_wire.clock import read_now
from primacy_wire.messages import Load

from primacy_agent.core.observing import LoadWindow, Sample
from primacy_agent.probes.http_get import HttpFailure, get

logger = logging.getLogger(__name__)


class ServiceMetrics:
    """The load of the service beside this agent."""

    def __init__(self, url: str, names: Mapping[str, str]) -> None:
        self._url = url
        self._names = {series: name for name, series in names.items()}
        self._window = LoadWindow()
        self._trouble = ""
        self.load = Load()

    async def read(self, timeout_s: float) -> None:
        """Look once; what cannot be read is not known from then on."""
        try:
            status, body = await get(self._url, timeout_s, body_wanted=True)
            if status != 200:
                raise HttpFailure(f"answered {status}")
        except HttpFailure as failure:
            self.load = Load()
            self._window.forget()
            if str(failure) != self._trouble:
                self._trouble = str(failure)
                logger.warning(
                    "the service's metrics cannot be read", extra={"url": self._url, "reason": self._trouble}
                )
            return
        self._trouble = ""
        values = parse_series(body.decode("utf-8", errors="replace"), self._names)
        self.load = self._window.after(Sample(read_now().mono_ns, values))


def parse_series(text: str, names: Mapping[str, str]) -> dict[str, float]:
    """The wanted series (`names`: series -> key of the result) of a page in the Prometheus text format.

    Samples of one series with different labels are added up. What is not a finite number is left out.
    """
    values: dict[str, float] = {}
    for line in text.splitlines():
        name, rest = _split(line)
        wanted = names.get(name)
        if wanted is None:
            continue
        try:
            value = float(rest.split(None, 1)[0])
        except (ValueError, IndexError):
            continue
        if math.isfinite(value):
            values[wanted] = values.get(wanted, 0.0) + value
    return values


def _split(line: str) -> tuple[str, str]:
    """(name, what follows the labels) of `NAME VALUE [TIMESTAMP]` or `NAME{…} VALUE [TIMESTAMP]`."""
    brace, end = line.find("{"), line.rfind("}")
    if 0 <= brace < end:
        return line[:brace].strip(), line[end + 1 :]
    name, *rest = line.split(None, 1)[:2] or ("",)
    return name, rest[0] if rest else ""
