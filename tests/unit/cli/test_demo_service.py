"""The demo service's model decides its answers, and load costs time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from primacy_cli.demo.model import ModelError, ModelFile, make_model
from primacy_cli.demo.notes import Notes
from primacy_cli.demo.service import Service

BODY = b'{"inputs": [0.1, 0.2, 0.3, 0.4]}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    path.write_bytes(make_model())
    return path


async def predict(service: Service, body: bytes = BODY) -> tuple[int, dict[str, object]]:
    answer = await service.answer(b"POST", "/predict", body, {})
    assert answer.content_type == "application/json"
    return answer.status, json.loads(answer.body)


def test_the_model_is_the_same_in_every_region() -> None:
    assert make_model() == make_model()


async def test_shares_add_up_and_follow_the_weights(file: Path) -> None:
    service = Service("eu", ModelFile(file), 1_000, Notes(file.parent))
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
    service = Service("eu", ModelFile(file), 1_000, Notes(file.parent))
    whole = file.read_bytes()
    assert (await service.answer(b"GET", "/healthz", b"", {})).status == 200
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:length])
        assert (await service.answer(b"GET", "/healthz", b"", {})).status == 503
        assert (await predict(service))[0] == 503
    file.unlink()
    with pytest.raises(ModelError):
        ModelFile(file).load()
    file.write_bytes(whole)
    assert (await service.answer(b"GET", "/healthz", b"", {})).status == 200


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
    service = Service("eu", ModelFile(file), 1_000, Notes(file.parent))
    assert (await predict(service, body))[0] == 400
    assert metric(await service.answer(b"GET", "/metrics", b"", {}), "demo_request_errors_total") == 0


async def test_load_costs_time_and_shows_in_the_figures(file: Path) -> None:
    service = Service("eu", ModelFile(file), 200, Notes(file.parent))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await predict(service)
    alone = loop.time() - began
    began = loop.time()
    asked = asyncio.gather(*(predict(service) for _ in range(60)))
    await asyncio.sleep(0)
    assert metric(await service.answer(b"GET", "/metrics", b"", {}), "demo_in_flight") == 60
    answers = await asked
    together = loop.time() - began
    assert {code for code, _ in answers} == {200}
    assert together > 5 * alone, "sixty at once wait for each other"
    page = await service.answer(b"GET", "/metrics", b"", {})
    assert metric(page, "demo_requests_total") == metric(page, "demo_request_seconds_count") == 61
    assert metric(page, "demo_utilisation") > 0
    assert metric(page, "demo_capacity") == 200
    assert metric(page, "demo_in_flight") == 0
    mean = metric(page, "demo_request_seconds_sum") / 61
    assert mean > alone


async def test_more_than_can_wait_is_turned_away(file: Path) -> None:
    service = Service("eu", ModelFile(file), 100, Notes(file.parent))
    answers = await asyncio.gather(*(predict(service) for _ in range(300)))
    codes = [code for code, _ in answers]
    assert set(codes) == {200, 503}
    page = await service.answer(b"GET", "/metrics", b"", {})
    assert metric(page, "demo_request_errors_total") == codes.count(503)


def metric(answer: object, name: str) -> float:
    body = answer.body  # type: ignore[attr-defined]
    line = next(line for line in body.decode().splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


async def test_a_replicated_model_is_served_from_the_moment_it_is_current(file: Path, tmp_path: Path) -> None:
    current = tmp_path / "models" / "demo" / "current"
    model = ModelFile(file, current)
    service = Service("eu", model, 1_000, Notes(tmp_path))
    _, own = await predict(service)
    assert own["version"] == 0
    for version in (1, 2):
        folder = current.parent / "releases" / str(version) / str(version)
        folder.mkdir(parents=True)
        (folder / "weights.json").write_bytes(make_model(seed=version + 10))
        beside = current.with_name("beside")
        beside.symlink_to(Path("releases") / str(version))
        beside.replace(current)
        _, answer = await predict(service)
        assert answer["version"] == version
        assert answer["model"] not in (own["model"], None)
    current.unlink()
    assert (await predict(service))[1]["model"] == own["model"]


async def test_notes_are_behind_a_fence(file: Path, tmp_path: Path) -> None:
    service = Service("eu", ModelFile(file), 1_000, Notes(tmp_path))

    async def note(text: str, **headers: str) -> int:
        answer = await service.answer(b"POST", "/notes", text.encode(), headers)
        return answer.status

    assert await note("no epoch") == 400
    assert await note("first", **{"primacy-epoch": "3"}) == 200
    assert await note("newer", **{"Primacy-Epoch": "4"}) == 200
    assert await note("late", **{"Primacy-Epoch": "3"}) == 409
    listed = json.loads((await service.answer(b"GET", "/notes", b"", {})).body)["notes"]
    assert listed == [{"epoch": 3, "text": "first"}, {"epoch": 4, "text": "newer"}]
    wrong = await service.answer(b"PUT", "/notes", b"", {})
    assert (wrong.status, wrong.headers["Allow"]) == (405, "GET, POST")
