"""The demo service's model decides its answers, and load costs time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from primacy_cli.demo.model import ModelError, ModelFile, make_model
from primacy_cli.demo.service import Service

BODY = b'{"inputs": [0.1, 0.2, 0.3, 0.4]}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_bytes(make_model())
    return path


async def predict(service: Service, body: bytes = BODY) -> tuple[int, dict[str, object]]:
    answer = await service.answer(b"POST", "/predict", body)
    assert answer.content_type == "application/json"
    return answer.status, json.loads(answer.body)


def test_the_model_is_the_same_in_every_region() -> None:
    assert make_model() == make_model()


async def test_shares_add_up_and_follow_the_weights(file: Path) -> None:
    service = Service("eu", ModelFile(file), 1_000)
    code, first = await predict(service)
    assert code == 200
    shares = first["shares"]
    assert isinstance(shares, dict)
    assert sum(shares.values()) == pytest.approx(1)
    assert first["label"] == max(shares, key=lambda each: shares[each])
    file.write_bytes(file.read_bytes().replace(b"0.", b"1."))
    _, second = await predict(service)
    assert second["shares"] != shares and second["model"] != first["model"]


async def test_no_whole_model_no_answer_and_no_health(file: Path) -> None:
    service = Service("eu", ModelFile(file), 1_000)
    whole = file.read_bytes()
    assert (await service.answer(b"GET", "/healthz", b"")).status == 200
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:length])
        assert (await service.answer(b"GET", "/healthz", b"")).status == 503
        assert (await predict(service))[0] == 503
    file.unlink()
    with pytest.raises(ModelError):
        ModelFile(file).load()
    file.write_bytes(whole)
    assert (await service.answer(b"GET", "/healthz", b"")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"inputs": 3}',
        b'{"inputs": [1, 2, 3]}',
        b'{"inputs": [1, 2, 3, "4"]}',
        b'{"inputs": [1, 2, 3, NaN]}',
        b'{"inputs": [1, 2, 3, true]}',
        b'{"inputs": [1, 2, 3, 1e400]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
async def test_bad_inputs_are_the_callers_fault(file: Path, body: bytes) -> None:
    service = Service("eu", ModelFile(file), 1_000)
    assert (await predict(service, body))[0] == 400
    assert metric(await service.answer(b"GET", "/metrics", b""), "demo_request_errors_total") == 0


async def test_load_costs_time_and_shows_in_the_figures(file: Path) -> None:
    service = Service("eu", ModelFile(file), 200)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await predict(service)
    alone = loop.time() - began
    began = loop.time()
    asked = asyncio.gather(*(predict(service) for _ in range(60)))
    await asyncio.sleep(0)
    assert metric(await service.answer(b"GET", "/metrics", b""), "demo_in_flight") == 60
    answers = await asked
    together = loop.time() - began
    assert {code for code, _ in answers} == {200}
    assert together > 5 * alone, "sixty at once wait for each other"
    page = await service.answer(b"GET", "/metrics", b"")
    assert metric(page, "demo_requests_total") == metric(page, "demo_request_seconds_count") == 61
    assert metric(page, "demo_utilisation") > 0
    assert metric(page, "demo_capacity") == 200
    assert metric(page, "demo_in_flight") == 0
    mean = metric(page, "demo_request_seconds_sum") / 61
    assert mean > alone


async def test_more_than_can_wait_is_turned_away(file: Path) -> None:
    service = Service("eu", ModelFile(file), 100)
    answers = await asyncio.gather(*(predict(service) for _ in range(300)))
    codes = [code for code, _ in answers]
    assert set(codes) == {200, 503}
    page = await service.answer(b"GET", "/metrics", b"")
    assert metric(page, "demo_request_errors_total") == codes.count(503)


def metric(answer: object, name: str) -> float:
    body = answer.body  # type: ignore[attr-defined]
    line = next(line for line in body.decode().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])
