"""The coordinator's own log: a line for each alert that begins or ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.monitor.alerts.sending import Word, news, still_known, word_of
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.sinks.sink import Changed, Figures

logger = logging.getLogger(__name__)

LEVELS = {Severity.INFO: logging.INFO, Severity.WARNING: logging.WARNING, Severity.CRITICAL: logging.ERROR}


class Log:
    """See `Sink`."""

    def __init__(self, changed: Changed = lambda _: None) -> None:
        self.name = "log"
        self.address = "the coordinator's log"
        self.figures = Figures()
        self.waiting = 0
        self._changed = changed
        self._told: dict[str, dict[str, Word]] = {}

    def start(self) -> None:
        pass

    def put(self, group: str, alerts: tuple[Alert, ...]) -> None:
        told = self._told[group] = still_known(alerts, self._told.get(group, {}))
        found = news(alerts, told)
        for alert in found:
            resolved = alert.state is AlertState.RESOLVED
            told[alert.id] = word_of(alert)
            self.figures.sent += 1
            logger.log(
                logging.INFO if resolved else LEVELS[alert.severity],
                "alert %s: %s",
                "resolved" if resolved else "fires",
                alert.summary,
                extra={"group": group, "alert": alert.id, "severity": alert.severity.name.lower()},
            )
        if found:
            self._changed(group)

    def forget(self, group: str) -> None:
        self._told.pop(group, None)

    def told(self, group: str) -> Mapping[str, Word]:
        return self._told.get(group, {})

    def restore(self, group: str, told: Mapping[str, Word]) -> None:
        self._told[group] = dict(told)

    async def test(self, group: str) -> str:
        logger.info("a test alert of Primacy", extra={"group": group})
        self.figures.sent += 1
        return ""

    async def close(self) -> None:
        pass
