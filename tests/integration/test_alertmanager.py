"""The sink for Alertmanager against the real one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.sinks.alertmanager import Alertmanager

from tests.integration.alertmanagers import RealAlertmanager, free_port
from tests.unit.coordinator.sinks.receivers import AtOnce, alert

pytestmark = [pytest.mark.integration, pytest.mark.needs("alertmanager")]
SECOND_NS = 1_000_000_000


class People:
    """Who is told by Alertmanager."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        """(status, alertname)."""
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend((one["status"], one["labels"]["alertname"]) for one in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def people() -> Iterator[People]:
    made = People()
    yield made
    made.close()


@pytest.fixture
def real(tmp_path: Path, people: People) -> Iterator[RealAlertmanager]:
    made = RealAlertmanager(tmp_path / "alertmanager", people.url)
    made.start()
    yield made
    made.stop()


@asynccontextmanager
async def sink(url: str, resend_s: float = 0.2) -> AsyncIterator[Alertmanager]:
    made = Alertmanager("alertmanager", url, "https://ops.example", draw=AtOnce(), resend_s=resend_s)
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def wait(fact: Callable[[], Any], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(fact):
            await asyncio.sleep(0.05)


def now_alert(rule: str = "region-down", state: AlertState = AlertState.FIRING, **more: Any) -> Alert:
    made = alert(rule, state=state, fire_wall_ns=time.time_ns() - 30 * SECOND_NS, labels=(("team", "edge"),), **more)
    return replace(made, resolve_wall_ns=time.time_ns()) if state is AlertState.RESOLVED else made


async def test_it_takes_what_fires_and_tells_people_of_beginning_and_end(
    real: RealAlertmanager, people: People
) -> None:
    async with sink(real.url) as made:
        firing = now_alert()
        made.put("default", (firing, now_alert("lag", announced=False, cause_id="region-down/eu")))
        await wait(lambda: len(real.alerts()) == 1)
        (there,) = real.alerts()
        assert there["labels"] == {
            "alertname": "region-down",
            "group": "default",
            "region": "eu",
            "severity": "critical",
            "team": "edge",
        }
        assert there["annotations"] == {"summary": "region-down in eu", "advice": "look", "explains": "lag/eu"}
        assert there["generatorURL"] == "https://ops.example/?group=default#alert=region-down%2Feu"
        assert there["status"]["state"] == "active" and made.figures.trouble == ""
        await wait(lambda: ("firing", "region-down") in people.told)
        ended = replace(firing, life=now_alert(state=AlertState.RESOLVED).life, resolve_wall_ns=time.time_ns())
        made.put("default", (ended,))
        await wait(lambda: ("resolved", "region-down") in people.told)
        assert real.alerts() == []
        assert people.told == [("firing", "region-down"), ("resolved", "region-down")]


async def test_it_is_told_when_it_is_back(real: RealAlertmanager, people: People) -> None:
    async with sink(real.url) as made:
        await wait(lambda: made.figures.trouble == "" and made.waiting == 0)
        real.stop()
        made.put("default", (now_alert(),))
        await wait(lambda: made.figures.failed >= 2)
        assert made.waiting == 1 and "refused" in made.figures.trouble
        real.start()
        await wait(lambda: len(real.alerts()) == 1)
        await wait(lambda: made.waiting == 0 and made.figures.trouble == "")
        await wait(lambda: ("firing", "region-down") in people.told)


async def test_one_that_is_not_there_is_known_before_it_is_needed() -> None:
    async with sink(f"http://127.0.0.1:{free_port()}") as made:
        await wait(lambda: "refused" in made.figures.trouble)
        assert made.waiting == 0


async def test_a_test_alert_reaches_people(real: RealAlertmanager, people: People) -> None:
    async with sink(real.url) as made:
        assert await made.test("default") == ""
        await wait(lambda: ("firing", "primacy-test") in people.told)
    async with sink(real.url + "/wrong") as made:
        assert "404" in await made.test("default")


async def test_many_alerts_and_odd_texts(real: RealAlertmanager) -> None:
    async with sink(real.url) as made:
        odd = replace(now_alert("odd"), summary='quotes " and \\ and \n and ünïcödé', labels=(("a_b", ""),))
        made.put("default", (odd, *(now_alert(f"rule-{number}") for number in range(250))))
        await wait(lambda: len(real.alerts()) == 251)
        await wait(lambda: made.waiting == 0)


async def test_a_clock_that_was_set_back_keeps_nothing_from_it(real: RealAlertmanager, people: People) -> None:
    async with sink(real.url) as made:
        ahead_ns = time.time_ns() + 3600 * SECOND_NS
        firing = replace(now_alert(), fire_wall_ns=ahead_ns)
        made.put("default", (firing,))
        await wait(lambda: len(real.alerts()) == 1)
        assert made.figures.trouble == ""
        over = now_alert(state=AlertState.RESOLVED).life
        made.put("default", (replace(firing, life=over, resolve_wall_ns=ahead_ns + SECOND_NS),))
        await wait(lambda: ("resolved", "region-down") in people.told)


async def test_what_it_does_not_take_holds_up_no_others(real: RealAlertmanager) -> None:
    async with sink(real.url) as made:
        bad = replace(now_alert("a-bad-one"), labels=(("1", "no name of a label"),))
        made.put("default", (bad, *(now_alert(f"rule-{number}") for number in range(250))))
        await wait(lambda: len(real.alerts()) == 250)
        await wait(lambda: "400" in made.figures.trouble)


async def test_old_labels_end_when_the_alert_gets_others_or_its_group_is_deleted(real: RealAlertmanager) -> None:
    def severities() -> list[str]:
        return [one["labels"]["severity"] for one in real.alerts()]

    async with sink(real.url, resend_s=60) as made:
        made.put("default", (now_alert(),))
        await wait(lambda: severities() == ["critical"])
        made.put("default", (now_alert(severity=Severity.WARNING),))
        await wait(lambda: severities() == ["warning"])
        made.forget("default")
        await wait(lambda: severities() == [])
        await wait(lambda: made.waiting == 0)
