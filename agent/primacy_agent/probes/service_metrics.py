"""Reads the service's metrics page, and makes a load of two readings."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Load

from primacy_agent.core.observing import Sample, load_between
from primacy_agent.probes.http_get import HttpFailure, get

logger = logging.getLogger(__name__)

WINDOW_NS = SECOND_NS
"""Rates are taken over at least so long."""


class ServiceMetrics:
    """The load of the service beside this agent."""

    def __init__(self, url: str, names: Mapping[str, str]) -> None:
        self._url = url
        self._names = {series: name for name, series in names.items()}
        self._before: Sample | None = None
        self._trouble = ""
        self.load = Load()

    async def read(self, timeout_s: float) -> None:
        """Look once; what cannot be read is not known from then on."""
        try:
            status, body = await get(self._url, timeout_s, body_wanted=True)
            if status != 200:
                raise HttpFailure(f"answered {status}")
        except HttpFailure as failure:
            self.load, self._before = Load(), None
            if str(failure) != self._trouble:
                self._trouble = str(failure)
                logger.warning(
                    "the service's metrics cannot be read", extra={"url": self._url, "reason": self._trouble}
                )
            return
        self._trouble = ""
        sample = Sample(read_now().mono_ns, self._values(body.decode("utf-8", errors="replace")))
        self.load = load_between(self._before, sample)
        if self._before is None or sample.at_ns - self._before.at_ns >= WINDOW_NS:
            self._before = sample

    def _values(self, text: str) -> dict[str, float]:
        """The wanted series, summed over their labels (`NAME{…} VALUE [TIMESTAMP]`)."""
        values: dict[str, float] = {}
        for line in text.splitlines():
            name, rest = _split(line)
            wanted = self._names.get(name)
            if wanted is None:
                continue
            try:
                value = float(rest.split()[0])
            except (ValueError, IndexError):
                continue
            if math.isfinite(value):
                values[wanted] = values.get(wanted, 0.0) + value
        return values


def _split(line: str) -> tuple[str, str]:
    """(name, what follows the labels); empty for comments."""
    if line.startswith("#"):
        return "", ""
    brace = line.find("{")
    if brace < 0:
        name, _, rest = line.partition(" ")
        return name, rest
    return line[:brace], line[line.rfind("}") + 1 :]
