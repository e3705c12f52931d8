"""What rules ask of the measurements."""

from __future__ import annotations

from typing import Protocol

from primacy_coordinator.core.monitor.model import Aggregation


class Figures(Protocol):
    """Measurements up to now. Every answer is a copy of what is kept: nothing is measured by asking."""

    def regions(self, series: str, /) -> tuple[str, ...]:
        """Regions of which the series was ever heard, sorted; empty: nobody has it."""
        ...

    def latest(
        self, series: str, region: str, aggregation: Aggregation | None, quantile: float, window_ns: int, /
    ) -> float | None:
        """One figure for the window that ends now; `region` empty: of all together. None: nothing was measured."""
        ...

    def burn(self, slo: str, region: str, window_ns: int, /) -> float | None:
        """How fast an error budget burnt in the window; 1 is the pace at which it lasts. None: nothing was measured."""
        ...

    def failures(self, slo: str, region: str, window_ns: int, /) -> float | None:
        """Requests that were not good in the window. None: nothing was measured, or the objective is about time."""
        ...


class NoFigures:
    """Nothing is measured yet."""

    def regions(self, _series: str) -> tuple[str, ...]:
        return ()

    def latest(
        self, _series: str, _region: str, _aggregation: Aggregation | None, _quantile: float, _window_ns: int
    ) -> float | None:
        return None

    def burn(self, _slo: str, _region: str, _window_ns: int) -> float | None:
        return None

    def failures(self, _slo: str, _region: str, _window_ns: int) -> float | None:
        return None
