"""Webhooks against a receiver on a real socket: told once, signed, tried until taken, and never in anybody's way."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.sinks.signature import HEADER, is_signed, sign
from primacy_coordinator.sinks.webhook import SecretFault, Webhook, WebhookOptions, read_secret
from primacy_wire.instant import SECOND_NS

from tests.unit.coordinator.sinks.receivers import HANG, HANG_UP, AtOnce, Receiver, alert, receiver

RESOLVED = AlertState.RESOLVED


@asynccontextmanager
async def hook(
    to: Receiver | str, changed: Callable[[str], None] = lambda _: None, **options: object
) -> AsyncIterator[Webhook]:
    url = to if isinstance(to, str) else to.url
    made = Webhook("webhook", WebhookOptions(url, **options), changed, "https://ops.example", draw=AtOnce())  # type: ignore[arg-type]
    made.start()
    try:
        yield made
    finally:
        await made.close()


async def test_each_change_is_told_once() -> None:
    async with receiver() as there, hook(there) as made:
        firing = alert()
        for _ in range(3):
            made.put("default", (firing, alert("lag"), alert("lag", "us", announced=False)))
        await there.until(lambda: len(there.got) == 2)
        made.put("default", (alert(state=RESOLVED), alert("lag")))
        await there.until(lambda: len(there.got) == 3)
        assert there.kinds() == ["firing lag/eu", "firing region-down/eu", "resolved region-down/eu"]
        body = there.got[1].json
        assert body["version"] == 1 and body["group"] == "default"
        assert body["alert"]["severity"] == "SEVERITY_CRITICAL" and body["alert"]["value"] == 1.5
        assert body["url"] == "https://ops.example/?group=default#alert=region-down%2Feu"
        assert body["text"].startswith("▲ firing critical: region-down in eu [eu]")
        assert made.waiting == 0 and made.figures.sent == 3 and made.figures.trouble == ""


async def test_what_is_explained_goes_with_its_cause() -> None:
    async with receiver() as there, hook(there) as made:
        made.put("default", (alert(), alert("lag", announced=False, cause_id="region-down/eu")))
        await there.until(lambda: len(there.got) == 1)
        assert there.got[0].json["alert"]["explains"] == ["lag/eu"]


async def test_messages_are_signed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef\n")
    async with receiver() as there, hook(there, secret_file=str(secret)) as made:
        made.put("default", (alert(),))
        await there.until(lambda: len(there.got) == 1)
        got = there.got[0]
        header, now = got.headers[HEADER.lower()], int(time.time())
        assert is_signed(b"0123456789abcdef", got.body, header, now)
        assert not is_signed(b"0123456789abcdeX", got.body, header, now)
        assert not is_signed(b"0123456789abcdef", got.body + b" ", header, now)
        assert not is_signed(b"0123456789abcdef", got.body, header, now + 3600)
        assert got.headers["primacy-delivery"].startswith("default/region-down/eu/firing/")
        # A new secret counts at once; one that is gone is a trouble that names the file, and loses nothing.
        secret.unlink()
        made.put("default", (alert(), alert("lag")))
        await there.until(lambda: bool(made.figures.trouble))
        assert str(secret) in made.figures.trouble and made.waiting == 1
        secret.write_text("another-secret-of-mine")
        await there.until(lambda: len(there.got) == 2)
        assert is_signed(b"another-secret-of-mine", there.got[1].body, there.got[1].headers[HEADER.lower()], now)


def test_a_signature_is_of_seconds_and_body() -> None:
    # As anybody can make it: printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
    made = sign(b"0123456789abcdef", b"{}", 1_700_000_000)
    assert made == "t=1700000000,v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
    assert not is_signed(b"0123456789abcdef", b"{}", "garbage", 1_700_000_000)
    assert not is_signed(b"0123456789abcdef", b"{}", "t=x,v1=y", 1_700_000_000)


def test_a_secret_must_be_one(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("secret")
    with pytest.raises(SecretFault, match="16 bytes"):
        read_secret(str(short))
    with pytest.raises(SecretFault, match="No such file"):
        read_secret(str(tmp_path / "absent"))


@pytest.mark.parametrize("fault", [500, 503, 429, HANG_UP])
async def test_a_receiver_in_trouble_is_told_when_it_is_well(fault: int) -> None:
    async with receiver() as there, hook(there) as made:
        there.status = fault
        made.put("default", (alert(),))
        await there.until(lambda: there.tries >= 3)
        assert made.figures.trouble and made.figures.failed >= 2 and made.waiting == 1
        there.status = 200
        await there.until(lambda: len(there.got) == 1)
        await there.until(lambda: made.figures.trouble == "")
        assert there.kinds() == ["firing region-down/eu"] and made.waiting == 0


async def test_a_receiver_that_was_away_is_told_how_things_are_now() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with hook(f"http://127.0.0.1:{port}/hook") as made:
        made.put("default", (alert(), alert("lag"), alert("flapping")))
        made.put("default", (alert(), alert("lag", state=RESOLVED), alert("flapping")))
        while made.figures.failed < 2:
            await asyncio.sleep(0.01)
        assert "refused" in made.figures.trouble and made.waiting == 2
        async with receiver(port) as there:
            await there.until(lambda: len(there.got) == 2)
            assert sorted(there.kinds()) == ["firing flapping/eu", "firing region-down/eu"], (
                "what came and went is in the journal"
            )


async def test_a_receiver_that_hangs_is_given_up_in_time_and_holds_up_nobody() -> None:
    async with receiver() as there, hook(there, timeout_s=0.1) as made:
        there.status = HANG
        made.put("default", (alert(),))
        await there.until(lambda: there.tries >= 2)
        assert "no answer within 0.1 s" in made.figures.trouble
        there.status = 200
        await there.until(lambda: len(there.got) == 1)


async def test_a_message_that_is_refused_does_not_hold_up_others() -> None:
    async with receiver() as there, hook(there) as made:
        there.statuses["lag/eu"] = 400
        made.put("default", (alert("lag"), alert()))
        await there.until(lambda: there.kinds() == ["firing region-down/eu"])
        await there.until(lambda: there.tries >= 3)  # The refused one is tried again, a second later.
        assert made.waiting == 1
        there.statuses.clear()
        await there.until(lambda: "firing lag/eu" in there.kinds())


async def test_what_fires_again_soon_waits_for_the_cool_down() -> None:
    async with receiver() as there, hook(there, cool_down_ns=3600 * SECOND_NS) as made:
        made.put("default", (alert(),))
        await there.until(lambda: len(there.got) == 1)
        made.put("default", (alert(state=RESOLVED),))
        await there.until(lambda: len(there.got) == 2)
        made.put("default", (alert(fire_wall_ns=2 * 10**18),))
        made.put("default", (alert(fire_wall_ns=2 * 10**18), alert("lag")))
        await there.until(lambda: len(there.got) == 3)
        assert there.kinds()[2] == "firing lag/eu" and made.waiting == 1
        # What becomes worse is said at once.
        made.put("default", (alert(fire_wall_ns=2 * 10**18), alert("lag", severity=Severity.WARNING)))
    async with receiver() as there, hook(there, cool_down_ns=3600 * SECOND_NS) as made:
        made.put("default", (alert("lag", severity=Severity.WARNING),))
        await there.until(lambda: len(there.got) == 1)
        made.put("default", (alert("lag", severity=Severity.CRITICAL),))
        await there.until(lambda: len(there.got) == 2)


async def test_what_was_told_before_a_restart_is_not_told_again() -> None:
    kept: dict[str, dict[str, object]] = {}
    async with receiver() as there:
        async with hook(there, lambda group: kept.update({group: dict(made.told(group))})) as made:
            made.put("default", (alert(), alert("lag")))
            await there.until(lambda: len(there.got) == 2 and len(kept["default"]) == 2)
        async with hook(there) as again:
            again.restore("default", kept["default"])  # type: ignore[arg-type]
            again.put("default", (alert(), alert("lag", state=RESOLVED)))
            await there.until(lambda: len(there.got) == 3)
            assert there.kinds()[2] == "resolved lag/eu"


async def test_what_does_not_matter_enough_is_not_told() -> None:
    async with receiver() as there, hook(there, severity_min=Severity.CRITICAL) as made:
        made.put("default", (alert("lag", severity=Severity.WARNING), alert()))
        await there.until(lambda: len(there.got) == 1)
        assert there.kinds() == ["firing region-down/eu"] and made.waiting == 0


async def test_an_acknowledged_alert_is_not_told() -> None:
    async with receiver() as there, hook(there) as made:
        made.put("default", (replace(alert(), acknowledged_by="ann"), alert("lag")))
        await there.until(lambda: len(there.got) == 1)
        assert there.kinds() == ["firing lag/eu"]


async def test_a_test_alert_says_what_happened() -> None:
    async with receiver() as there, hook(there) as made:
        assert await made.test("default") == ""
        assert there.kinds() == ["test primacy-test"]
        there.status = 401
        assert "401" in await made.test("default")
        made.put("default", ())
        made.forget("default")
        assert made.waiting == 0


async def test_a_message_that_the_receiver_chokes_on_holds_up_no_other() -> None:
    async with receiver() as there, hook(there) as made:
        there.statuses["choke/eu"] = 500
        made.put("default", (alert("choke"), alert("lag", severity=Severity.WARNING)))
        await there.until(lambda: there.kinds() == ["firing lag/eu"])
        assert made.waiting == 1
        there.statuses.clear()
        await there.until(lambda: there.kinds() == ["firing lag/eu", "firing choke/eu"])


@pytest.mark.parametrize("fault", [500, 404])
async def test_what_could_not_be_sent_and_has_ended_is_no_trouble_any_more(fault: int) -> None:
    async with receiver() as there, hook(there) as made:
        there.status = fault
        made.put("default", (alert(),))
        await there.until(lambda: str(fault) in made.figures.trouble)
        made.put("default", (alert(state=RESOLVED),))
        await there.until(lambda: made.figures.trouble == "")
        assert there.got == [] and made.waiting == 0


async def test_the_end_is_told_of_a_group_that_is_deleted() -> None:
    async with receiver() as there, hook(there) as made:
        made.put("default", (alert(),))
        made.put("other", (alert("lag"),))
        await there.until(lambda: len(there.got) == 2)
        there.status = 503
        made.put("default", (alert(), alert("later")))
        await there.until(lambda: there.tries == 3)
        made.forget("default")
        await there.until(lambda: there.tries >= 4)
        there.status = 200
        await there.until(lambda: len(there.got) == 3)
        assert there.kinds()[2] == "resolved region-down/eu" and there.got[2].json["group"] == "default"
        await there.until(lambda: not made.told("default"))
        assert set(made.told("other")) == {"lag/eu"} and made.waiting == 0


def test_the_secret_that_a_chat_systems_url_is_shows_nowhere() -> None:
    made = Webhook("webhook", WebhookOptions("https://ann:pass@hooks.example/services/T0/s3cret?token=x"))
    assert made.address == "https://hooks.example/...?..."
