"""Alertmanager, by its API v2: it is told again and again of everything that fires, so nothing can be lost.

It forgets an alert by itself when it has not heard of it for `RESOLVE_AFTER_NS`; well before that it is told again.
What was resolved is said for a while, in case it missed it; so is what it was told under labels that are not the
alert's any more, for it knows an alert by its labels alone. With nothing to say, it is only asked how it is, so that a
broken way out is known before it is needed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias

from primacy_wire.backoff import Backoff
from primacy_wire.clock import read_now
from primacy_wire.http_client import HttpFailure, request, shown_url
from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.monitor.alerts.sending import Word, word_of
from primacy_coordinator.sinks.rendering import alertmanager_alert, explained_by, rfc3339
from primacy_coordinator.sinks.sink import Figures

logger = logging.getLogger(__name__)

RESEND_S = 60.0
RESOLVED_SAID_NS = 900 * SECOND_NS
TOGETHER_MAX = 100
TIMEOUT_S = 10.0
TEST_NS = 60 * SECOND_NS

State: TypeAlias = frozenset[tuple[str, Word]]
"""(id of an alert, what is to be said of it)."""
Labels: TypeAlias = frozenset[tuple[str, str]]
_NOTHING: State = frozenset()


class _Refused(HttpFailure):
    """It is well, and does not want something of what it was given."""


class Alertmanager:
    """One instance. See `Sink`."""

    def __init__(
        self,
        name: str,
        url: str,
        external_url: str = "",
        trusted: ssl.SSLContext | None = None,
        draw: random.Random | None = None,
        timeout_s: float = TIMEOUT_S,
        resend_s: float = RESEND_S,
    ) -> None:
        """`url`: where it is reached, without `/api/v2`."""
        self.name = name
        self.address = shown_url(url)
        self.figures = Figures()
        self._url = url.rstrip("/")
        self._external_url = external_url
        self._trusted = trusted
        self._timeout_s = timeout_s
        self._resend_s = resend_s
        self._backoff = Backoff(draw or random.Random(), SECOND_NS, 30 * SECOND_NS)
        self._groups: dict[str, tuple[Alert, ...]] = {}
        self._explained: dict[str, dict[str, list[str]]] = {}
        self._states: dict[str, State] = {}
        self._said: dict[str, State] = {}
        """What it was told last of each group, as far as it matters."""
        self._posted: dict[Labels, tuple[dict[str, Any], int]] = {}
        """What it takes to be firing, or heard the end of lately -> (that end, or the alert; when it ended, or 0)."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return sum(len(state - self._said.get(group, _NOTHING)) for group, state in self._states.items())

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, group: str, alerts: tuple[Alert, ...]) -> None:
        since_ns = read_now().wall_ns - RESOLVED_SAID_NS
        self._groups[group] = said = tuple(
            alert
            for alert in alerts
            if alert.announced and (alert.state is AlertState.FIRING or alert.resolve_wall_ns >= since_ns)
        )
        self._explained[group] = explained_by(alerts)
        self._states[group] = state = frozenset((alert.id, word_of(alert)) for alert in said)
        if state != self._said.get(group) and not self.figures.trouble:
            self._wake.set()

    def forget(self, group: str) -> None:
        for kept in (self._groups, self._explained, self._states):
            kept.pop(group, None)
        self._wake.set()

    def told(self, group: str) -> Mapping[str, Word]:  # noqa: ARG002 - it is told everything again anyway
        return {}

    def restore(self, group: str, told: Mapping[str, Word]) -> None:
        pass

    async def test(self, group: str) -> str:
        wall_ns = read_now().wall_ns
        alert = {
            "labels": {"alertname": "primacy-test", "group": group, "severity": "info"},
            "annotations": {"summary": "a test alert of Primacy: it ends by itself within a minute"},
            "startsAt": rfc3339(wall_ns),
            "endsAt": rfc3339(wall_ns + TEST_NS),
        }
        try:
            await self._post([alert])
        except HttpFailure as error:
            self.figures.failed += 1
            return str(error)
        self.figures.sent += 1
        return ""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            wait_s = self._resend_s
            self._wake.clear()
            states = dict(self._states)
            try:
                await self._say()
            except HttpFailure as error:
                self.figures.failed += 1
                if str(error) != self.figures.trouble:
                    logger.warning("%s cannot be told of alerts: %s", self.name, error)
                self.figures.trouble = str(error)
                wait_s = self._backoff.next_ns() / SECOND_NS
            except Exception:
                logger.exception("%s cannot be told of alerts", self.name)
                self.figures.trouble = "it failed inside; see the coordinator's log"
            else:
                self.figures.trouble = ""
                self._said = states
                self._backoff.reset()
            if self._states != self._said and not self.figures.trouble:
                continue
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _say(self) -> None:
        """Everything that fires, and what was resolved lately. Raises HttpFailure."""
        wall_ns = read_now().wall_ns
        found = self._rendered(wall_ns)
        if not found:
            answer = await request(
                "GET", f"{self._url}/api/v2/status", timeout_s=self._timeout_s, trusted=self._trusted
            )
            if answer.status != 200:
                raise HttpFailure(f"GET /api/v2/status answers {answer.status}: is this an Alertmanager?")
            return
        refused: _Refused | None = None
        for begin in range(0, len(found), TOGETHER_MAX):
            part = found[begin : begin + TOGETHER_MAX]
            try:
                await self._post([one for one, _ in part])
            except _Refused as error:
                # It takes those of them that it likes; and the others are not to wait for one that it does not.
                refused = error
            else:
                self.figures.sent += len(part)
            self._posted.update((_labels(one), (one, ended_ns)) for one, ended_ns in part)
        self._posted = {
            labels: (one, ended_ns)
            for labels, (one, ended_ns) in self._posted.items()
            if not ended_ns or abs(wall_ns - ended_ns) <= RESOLVED_SAID_NS
        }
        if refused is not None:
            raise refused

    def _rendered(self, wall_ns: int) -> list[tuple[dict[str, Any], int]]:
        """(what is posted, when that ended or 0)."""
        found: dict[Labels, tuple[dict[str, Any], int]] = {}
        for group, alerts in sorted(self._groups.items()):
            explained = self._explained[group]
            for alert in alerts:
                one = alertmanager_alert(group, alert, explained.get(alert.id, ()), self._external_url, wall_ns)
                ended_ns = alert.resolve_wall_ns if alert.state is AlertState.RESOLVED else 0
                found[_labels(one)] = one, ended_ns
        # What became worse, whose labels the policy changed, or whose group is gone, has ended under its old labels.
        for labels, (one, ended_ns) in self._posted.items():
            if labels not in found:
                ends = rfc3339(ended_ns or wall_ns)
                over = {**one, "startsAt": min(one["startsAt"], ends), "endsAt": ends}
                found[labels] = over, ended_ns or wall_ns
        return list(found.values())

    async def _post(self, alerts: list[dict[str, Any]]) -> None:
        answer = await request(
            "POST",
            f"{self._url}/api/v2/alerts",
            json.dumps(alerts).encode(),
            {"Content-Type": "application/json", "User-Agent": "primacy-coordinator"},
            self._timeout_s,
            self._trusted,
        )
        if answer.status != 200:
            text = answer.body[:200].decode(errors="replace").strip()
            said = f"POST /api/v2/alerts answers {answer.status}" + (f": {text}" if text else "")
            raise _Refused(said) if answer.status == 400 else HttpFailure(said)


def _labels(rendered: Mapping[str, Any]) -> Labels:
    return frozenset(rendered["labels"].items())
