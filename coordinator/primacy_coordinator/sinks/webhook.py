"""A webhook: one signed message for each change that matters, tried until it is taken.

1. There is no queue. What must be sent is the difference between how things are and what the receiver was told
   (`sending.news`): an hour of trouble costs no firing alert, and no memory.
2. A receiver that does not answer, or has trouble itself (5xx, 408, 425, 429), is left alone for a growing while, with
   full jitter; then comes the turn of what was tried least, so that one message that it chokes on holds up no other. A
   message that it refuses (any other status) is put aside for a while; others go on.
3. One message is under way at a time. It may arrive twice (an answer that was lost): `Primacy-Delivery` is the same.
4. An alert that fires again and again is told of at most once in `cool_down`.
5. Of a group that is deleted, the end of what it was told is told still.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from primacy_wire.backoff import Backoff
from primacy_wire.clock import read_now
from primacy_wire.http_client import HttpFailure, request, shown_url
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState, Life
from primacy_coordinator.core.monitor.alerts.finding import Finding
from primacy_coordinator.core.monitor.alerts.sending import Word, news, still_known, word_of
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.sinks.rendering import explained_by, webhook_message
from primacy_coordinator.sinks.signature import HEADER, SECRET_BYTES_MIN, sign
from primacy_coordinator.sinks.sink import Changed, Figures

logger = logging.getLogger(__name__)

TROUBLED = frozenset({408, 425, 429, *range(500, 600)})
RETRY_NS_MIN = 500 * MILLISECOND_NS
RETRY_NS_MAX = 60 * SECOND_NS
REFUSED_NS_MAX = 300 * SECOND_NS


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    url: str
    secret_file: str = ""
    """Empty: messages are not signed."""
    severity_min: Severity = Severity.WARNING
    cool_down_ns: int = 300 * SECOND_NS
    timeout_s: float = 5.0


class _Refused(Exception):
    """The receiver is well, and does not want this message."""


class SecretFault(Exception):
    """The secret cannot be used."""


def read_secret(path: str) -> bytes:
    """What stands in the file, without white space around it. Raises SecretFault."""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise SecretFault(f"{path}: {error.strerror}") from error
    if len(secret) < SECRET_BYTES_MIN:
        raise SecretFault(f"{path}: a secret needs {SECRET_BYTES_MIN} bytes or more")
    return secret


class Webhook:
    """See `Sink`."""

    def __init__(
        self,
        name: str,
        options: WebhookOptions,
        changed: Changed = lambda _: None,
        external_url: str = "",
        trusted: ssl.SSLContext | None = None,
        draw: random.Random | None = None,
    ) -> None:
        self.name = name
        self.address = shown_url(options.url, path=False)
        self.figures = Figures()
        self._options = options
        self._changed = changed
        self._external_url = external_url
        self._trusted = trusted
        self._draw = draw or random.Random()
        self._backoff = Backoff(self._draw, RETRY_NS_MIN, RETRY_NS_MAX)
        self._groups: dict[str, tuple[Alert, ...]] = {}
        self._told: dict[str, dict[str, Word]] = {}
        self._fired: dict[tuple[str, str], int] = {}
        """(group, alert) -> mono_ns at which it was last told that it fires."""
        self._refused: dict[tuple[str, str, Word], tuple[int, Backoff]] = {}
        """What it does not want -> (mono_ns until which it is left aside, ...)."""
        self._tries: Counter[tuple[str, str, Word]] = Counter()
        """How often what it has yet to be told was tried in vain."""
        self._deleted: set[str] = set()
        """Groups of which nothing but the end is told."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        return sum(len(self._news(group)) for group in self._groups)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, group: str, alerts: tuple[Alert, ...]) -> None:
        self._deleted.discard(group)
        self._groups[group] = alerts
        self._told[group] = still_known(alerts, self._told.get(group, {}))
        if self._refused or self._tries or self.figures.trouble:
            words = {(alert.id, word_of(alert)) for alert in alerts}
            self._refused = {k: v for k, v in self._refused.items() if k[0] != group or k[1:] in words}
            self._tries = Counter({k: n for k, n in self._tries.items() if k[0] != group or k[1:] in words})
            # What cannot be sent may have ended: it looks anew.
            self._wake.set()
        if self._news(group):
            self._wake.set()

    def forget(self, group: str) -> None:
        wall_ns = read_now().wall_ns
        self._groups[group] = tuple(
            replace(alert, life=Life(AlertState.RESOLVED), resolve_wall_ns=wall_ns)
            for alert in self._groups.get(group, ())
            if alert.state is AlertState.FIRING
        )
        self._deleted.add(group)
        self._drop_told()
        self._wake.set()

    def _drop_told(self) -> None:
        """Deleted groups of which everything is said."""
        for group in [group for group in self._deleted if not self._news(group)]:
            self._deleted.discard(group)
            del self._groups[group]
            self._told.pop(group, None)

    def told(self, group: str) -> Mapping[str, Word]:
        return self._told.get(group, {})

    def restore(self, group: str, told: Mapping[str, Word]) -> None:
        self._told[group] = dict(told)

    async def test(self, group: str) -> str:
        now = read_now()
        alert = Alert(
            Finding("primacy-test"),
            Life(AlertState.FIRING),
            Severity.INFO,
            summary="a test alert of Primacy",
            start_wall_ns=now.wall_ns,
            fire_wall_ns=now.wall_ns,
        )
        try:
            await self._send("test", group, alert)
        except (HttpFailure, _Refused) as error:
            self.figures.failed += 1
            return str(error)
        self.figures.sent += 1
        return ""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # ---- one message after the other

    def _news(self, group: str) -> tuple[Alert, ...]:
        return news(self._groups[group], self._told.get(group, {}), self._options.severity_min)

    def _next(self, now_ns: int) -> tuple[str, Alert] | int | None:
        """The next message; or mono_ns at which there may be one; or None: there is nothing to say."""
        due_ns: int | None = None
        best: tuple[int, str, Alert] | None = None
        for group in sorted(self._groups):
            for alert in self._news(group):
                wait_ns = self._wait_until(group, alert)
                if wait_ns > now_ns:
                    due_ns = wait_ns if due_ns is None else min(due_ns, wait_ns)
                    continue
                tries = self._tries[group, alert.id, word_of(alert)]
                if best is None or tries < best[0]:
                    best = tries, group, alert
        return due_ns if best is None else best[1:]

    def _wait_until(self, group: str, alert: Alert) -> int:
        refused = self._refused.get((group, alert.id, word_of(alert)))
        until_ns = refused[0] if refused is not None else 0
        fired_ns = self._fired.get((group, alert.id))
        if alert.state is AlertState.FIRING and fired_ns is not None and not self._is_worse(group, alert):
            until_ns = max(until_ns, fired_ns + self._options.cool_down_ns)
        return until_ns

    def _is_worse(self, group: str, alert: Alert) -> bool:
        last = self._told.get(group, {}).get(alert.id)
        return last is not None and last.fire_wall_ns == alert.fire_wall_ns and last.severity < alert.severity

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now_ns = read_now().mono_ns
            found = self._next(now_ns)
            wait_s: float | None = None
            if isinstance(found, tuple):
                wait_s = await self._try(*found) / SECOND_NS
                if wait_s == 0:
                    continue
                # In trouble: news do not wake it before its time.
                await asyncio.sleep(wait_s)
                continue
            if found is not None:
                wait_s = (found - now_ns) / SECOND_NS
            else:
                # Nobody misses anything: what could not be sent has ended.
                self.figures.trouble = ""
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _try(self, group: str, alert: Alert) -> int:
        """Sends one message. How long to wait before the next, in nanoseconds."""
        word = word_of(alert)
        try:
            await self._send("resolved" if word.resolved else "firing", group, alert)
        except HttpFailure as error:
            self._note(str(error))
            self._tries[group, alert.id, word] += 1
            return self._backoff.next_ns() + 1
        except _Refused as error:
            self._note(str(error))
            _, backoff = self._refused.get((group, alert.id, word), (0, Backoff(self._draw, SECOND_NS, REFUSED_NS_MAX)))
            # At least half of the ceiling: a refusal is rarely taken back at once.
            until_ns = read_now().mono_ns + SECOND_NS + backoff.next_ns()
            self._refused[group, alert.id, word] = until_ns, backoff
            self._backoff.reset()
            return 0
        except Exception:
            logger.exception("%s cannot be told of alerts", self.name)
            self._note("it failed inside; see the coordinator's log")
            return RETRY_NS_MAX
        self.figures.sent += 1
        self.figures.trouble = ""
        self._backoff.reset()
        self._refused = {key: value for key, value in self._refused.items() if key[:2] != (group, alert.id)}
        self._tries = Counter({key: n for key, n in self._tries.items() if key[:2] != (group, alert.id)})
        if group in self._groups:
            self._told.setdefault(group, {})[alert.id] = word
            if not word.resolved:
                self._fired[group, alert.id] = read_now().mono_ns
            self._forget_old()
            self._drop_told()
            self._changed(group)
        return 0

    def _note(self, trouble: str) -> None:
        self.figures.failed += 1
        if trouble != self.figures.trouble:
            logger.warning("%s cannot be told of alerts: %s", self.name, trouble)
        self.figures.trouble = trouble

    def _forget_old(self) -> None:
        since_ns = read_now().mono_ns - self._options.cool_down_ns
        self._fired = {key: at_ns for key, at_ns in self._fired.items() if at_ns >= since_ns}

    async def _send(self, kind: str, group: str, alert: Alert) -> None:
        """Raises HttpFailure, _Refused."""
        now = read_now()
        explains = explained_by(self._groups.get(group, ())).get(alert.id, ())
        message = webhook_message(kind, group, alert, explains, self._external_url, now.wall_ns)
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "primacy-coordinator",
            "Primacy-Delivery": f"{group}/{alert.id}/{kind}/{alert.fire_wall_ns}/{alert.severity.name.lower()}",
        }
        if self._options.secret_file:
            try:
                # Read each time, so that it can be changed; by a thread, for a disk may hang.
                secret = await asyncio.wait_for(
                    asyncio.to_thread(read_secret, self._options.secret_file), self._options.timeout_s
                )
            except TimeoutError:
                raise HttpFailure(f"{self._options.secret_file} cannot be read in time") from None
            except SecretFault as error:
                raise HttpFailure(str(error)) from error
            headers[HEADER] = sign(secret, body, now.wall_ns // SECOND_NS)
        answer = await request("POST", self._options.url, body, headers, self._options.timeout_s, self._trusted)
        if 200 <= answer.status < 300:
            return
        text = answer.body[:200].decode(errors="replace").strip()
        said = f"POST answers {answer.status}" + (f": {text}" if text else "")
        if answer.status in TROUBLED:
            raise HttpFailure(said)
        raise _Refused(said)
