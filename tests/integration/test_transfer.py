"""Contents from agent to agent over real gRPC: whatever a source does, what arrives is whole."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from blake3 import blake3
from primacy_agent.store import ContentStore, Manifest
from primacy_agent.transfer import FetchFailed, frames, pulling, sources
from primacy_agent.transfer.bandwidth import BURST_S
from primacy_agent.transfer.pieces import cut_pieces
from primacy_wire.channel import ClientTls
from primacy_wire.server import ServerTls

from tests.integration.transfers import WITHIN_S, Peer, Swarm, hold, swarm, until, write_model

pytestmark = pytest.mark.integration

MIB = 1 << 20
SIZE = 12 * MIB


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Swarm]:
    async with swarm(tmp_path / "agents") as found:
        yield found


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model", SIZE)


async def same(peer: Peer, manifest: Manifest, model: Path) -> bool:
    """Whether it can install exactly those files."""
    path = await peer.store.install("m", 1, manifest.digest)
    return all((path / "1" / file.path).read_bytes() == (model / file.path).read_bytes() for file in manifest.files)


async def test_from_one_holder_to_one_agent_each_byte_once(lab: Swarm, model: Path) -> None:
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(origin, model)
    await taker.fetch(manifest.digest, fallback=["eu/a"])
    assert await same(taker, manifest, model)
    assert origin.served.chunk_bytes == manifest.size
    assert taker.progress[-1] == (manifest.size, manifest.size)
    assert taker.progress == sorted(taker.progress), "it never goes back"
    assert origin.fetcher.uplink > 0, "more than a window was sent"


async def test_several_holders_share_the_work(lab: Swarm, model: Path) -> None:
    holders = [await lab.add(f"r{number}/a") for number in range(3)]
    manifests = [await hold(peer, model) for peer in holders]
    taker = await lab.add("us/a")
    keys = [peer.key for peer in holders]
    await taker.fetch(manifests[0].digest, lab.plan(manifests[0].digest, keys, ["us/a"]))
    assert await same(taker, manifests[0], model)
    sent = [peer.served.chunk_bytes for peer in holders]
    assert sum(sent) == manifests[0].size and all(sent), "no byte twice, and nobody idle"


async def test_a_holder_of_the_same_region_is_the_only_one_that_is_asked(lab: Swarm, model: Path) -> None:
    far, near, taker = await lab.add("eu/a"), await lab.add("us/b"), await lab.add("us/a")
    manifest = await hold(far, model)
    await hold(near, model)
    await taker.fetch(manifest.digest, lab.plan(manifest.digest, ["us/b", "eu/a"], ["us/a"]))
    assert await same(taker, manifest, model)
    assert (far.served.chunk_bytes, near.served.chunk_bytes) == (0, manifest.size)


async def test_what_a_killed_holder_was_asked_for_is_asked_of_another(lab: Swarm, model: Path) -> None:
    one, other, taker = await lab.add("eu/a"), await lab.add("ap/a"), await lab.add("us/a")
    manifest = await hold(one, model)
    await hold(other, model)

    async def slowly() -> None:
        await asyncio.sleep(0.01)  # So that neither has sent all before the kill.

    one.served.before_frame = other.served.before_frame = slowly
    fetching = asyncio.create_task(taker.fetch(manifest.digest, lab.plan(manifest.digest, ["eu/a", "ap/a"], ["us/a"])))
    await until(lambda: one.served.chunk_bytes > MIB)
    await one.kill()
    await fetching
    assert await same(taker, manifest, model)
    assert 0 < one.served.chunk_bytes < manifest.size


async def test_what_a_quiet_holder_was_asked_for_is_asked_of_another(
    lab: Swarm, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connection, answers pings, and sends nothing."""
    monkeypatch.setattr(sources, "SILENCE_S", 10 * WITHIN_S)
    quiet, other, taker = await lab.add("eu/a"), await lab.add("ap/a"), await lab.add("us/a")
    manifest = await hold(quiet, model)
    await hold(other, model)
    never = asyncio.Event()
    quiet.served.before_frame = never.wait  # type: ignore[assignment]
    await taker.fetch(manifest.digest, lab.plan(manifest.digest, ["eu/a", "ap/a"], ["us/a"]))
    assert await same(taker, manifest, model)
    assert quiet.served.chunk_bytes == 0 and quiet.served.asked


def _flip(frame: bytes) -> bytes:
    found = bytearray(frame)
    found[len(found) // 2] ^= 1
    return bytes(found)


def _shifted(frame: bytes) -> bytes:
    found = frames.decode(frame)
    return frames.encode(found.first + 10_000, [bytes(data) for _, data in found.chunks()])


LIES = {
    "a bit is wrong": _flip,
    "no frame at all": lambda _: b"\x0a\xff\xff\xff\xff\x0f garbage",
    "nothing asked for": _shifted,
    "cut off": lambda frame: frame[: len(frame) // 2],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_holder_that_sends_wrong_bytes_is_asked_no_more(lab: Swarm, model: Path, lie: str) -> None:
    liar, honest, taker = await lab.add("eu/a"), await lab.add("ap/a"), await lab.add("us/a")
    manifest = await hold(liar, model)
    await hold(honest, model)
    liar.served.bend = LIES[lie]
    await taker.fetch(manifest.digest, lab.plan(manifest.digest, ["eu/a", "ap/a"], ["us/a"]))
    assert await same(taker, manifest, model)
    asked = [key for key in liar.served.asked if key == "us/a"]
    assert 0 < len(asked) <= 4, "the manifest, and what was under way when the first lie came"


async def test_alone_with_a_liar_it_fails_and_keeps_nothing_wrong(lab: Swarm, model: Path) -> None:
    liar, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(liar, model)
    liar.served.bend = _flip
    with pytest.raises(FetchFailed, match="eu/a") as caught:
        await taker.fetch(manifest.digest, fallback=["eu/a"])
    assert not caught.value.final and not taker.store.is_complete(manifest.digest)
    liar.served.bend = None
    await taker.fetch(manifest.digest, fallback=["eu/a"])
    assert await same(taker, manifest, model)


async def test_what_is_damaged_on_a_holders_disk_is_not_handed_out(lab: Swarm, model: Path) -> None:
    damaged, whole, taker = await lab.add("eu/a"), await lab.add("ap/a"), await lab.add("us/a")
    manifest = await hold(damaged, model)
    await hold(whole, model)
    large = max(manifest.files, key=lambda file: file.size)
    path = next((damaged.models.parent / "store" / "files").glob(large.id))
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(SIZE // 3)
        file.write(b"rust")
    await taker.fetch(manifest.digest, lab.plan(manifest.digest, ["eu/a", "ap/a"], ["us/a"]))
    assert await same(taker, manifest, model)


async def test_nobody_there_is_said_at_once_and_by_name(lab: Swarm) -> None:
    taker = await lab.add("us/a")
    await lab.add("eu/a")
    with pytest.raises(FetchFailed, match="eu/a: NOT_FOUND"):
        await taker.fetch("ab" * 32, fallback=["eu/a"])
    with pytest.raises(FetchFailed, match="sa/a: nobody knows where it is"):
        await taker.fetch("ab" * 32, fallback=["sa/a"])
    with pytest.raises(FetchFailed, match="no agent that has it is known"):
        await taker.fetch("ab" * 32)


async def test_cancelled_and_begun_again_only_what_is_missing_comes(lab: Swarm, model: Path) -> None:
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(origin, model)

    async def slowly() -> None:
        await asyncio.sleep(0.02)

    origin.served.before_frame = slowly
    fetching = asyncio.create_task(taker.fetch(manifest.digest, fallback=["eu/a"]))
    await until(lambda: bool(taker.progress) and taker.progress[-1][0] > SIZE // 3)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert not taker.store.is_complete(manifest.digest)
    await lab.leave("us/a")  # A new life of the agent, with the store that the old one left.
    origin.served.before_frame = None
    before = origin.served.chunk_bytes
    again = await lab.add("us/a")
    await again.fetch(manifest.digest, fallback=["eu/a"])
    assert await same(again, manifest, model)
    assert origin.served.chunk_bytes - before < manifest.size - SIZE // 3 + 4 * MIB, "but for what was on its way"
    assert again.progress[0][0] > SIZE // 3 - MIB, "it says at once what is here"


async def test_a_new_version_brings_only_what_changed(lab: Swarm, model: Path, tmp_path: Path) -> None:
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    first = await hold(origin, model)
    await taker.fetch(first.digest, fallback=["eu/a"])
    weights = (model / "weights.bin").read_bytes()
    changed = write_model(tmp_path / "changed", 1)
    (changed / "weights.bin").write_bytes(weights[: SIZE // 2] + b"a few new bytes" + weights[SIZE // 2 :])
    second = await hold(origin, changed)
    before = origin.served.chunk_bytes
    await taker.fetch(second.digest, fallback=["eu/a"])
    assert await same(taker, second, changed)
    assert origin.served.chunk_bytes - before < MIB


async def _fan_out(lab: Swarm, manifest: Manifest, keys: list[str]) -> list[Peer]:
    takers = [await lab.add(key) for key in keys]
    plan = lab.plan(manifest.digest, ["origin/a"], keys)
    await asyncio.gather(*(taker.fetch(manifest.digest, plan) for taker in takers))
    return takers


async def test_to_four_agents_the_origin_sends_each_byte_about_once(lab: Swarm, tmp_path: Path) -> None:
    model = write_model(tmp_path / "large", 32 * MIB)
    origin = await lab.add("origin/a")
    manifest = await hold(origin, model)
    takers = await _fan_out(lab, manifest, [f"r{number}/a" for number in range(4)])
    for taker in takers:
        assert await same(taker, manifest, model)
        assert taker.served.chunk_bytes > 0, "each passes on what it got"
    assert manifest.size <= origin.served.chunk_bytes <= 1.25 * manifest.size
    total = sum(peer.served.chunk_bytes for peer in (origin, *takers))
    assert total <= 4.1 * manifest.size, "next to nothing comes twice"


async def test_a_small_content_is_sent_about_once_too(lab: Swarm, tmp_path: Path) -> None:
    model = write_model(tmp_path / "small", 600_000)
    origin = await lab.add("origin/a")
    manifest = await hold(origin, model)
    await _fan_out(lab, manifest, [f"r{number}/a" for number in range(4)])
    assert origin.served.chunk_bytes <= 1.5 * manifest.size


async def test_an_owner_that_dies_is_replaced_by_the_others(
    lab: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By those who notice that it is not there any more, before anybody's patience is at its end."""
    monkeypatch.setattr(pulling, "STALL_S", 10 * WITHIN_S)
    monkeypatch.setattr(pulling, "STALL_S_MAX", 10 * WITHIN_S)
    monkeypatch.setattr(pulling, "LAST_PIECES", -1.0)
    model = write_model(tmp_path / "large", 32 * MIB)
    origin = await lab.add("origin/a")
    manifest = await hold(origin, model)

    async def slowly() -> None:
        await asyncio.sleep(0.02)

    origin.served.before_frame = slowly
    keys = [f"r{number}/a" for number in range(4)]
    takers = [await lab.add(key) for key in keys]
    plan = lab.plan(manifest.digest, ["origin/a"], keys)
    tasks = [asyncio.create_task(taker.fetch(manifest.digest, plan)) for taker in takers]
    await until(lambda: takers[0].served.chunk_bytes > MIB)
    tasks[0].cancel()
    await takers[0].kill()
    await asyncio.gather(*tasks[1:])
    for taker in takers[1:]:
        assert await same(taker, manifest, model)
    assert origin.served.chunk_bytes <= 1.45 * manifest.size, "its part is shared out anew, not pulled by everybody"


async def test_an_owner_that_never_begins_does_not_hold_up_the_others(lab: Swarm, model: Path) -> None:
    origin = await lab.add("origin/a")
    manifest = await hold(origin, model)
    keys = [f"r{number}/a" for number in range(3)]
    takers = [await lab.add(key) for key in keys]
    plan = lab.plan(manifest.digest, ["origin/a"], keys)
    await asyncio.gather(*(taker.fetch(manifest.digest, plan) for taker in takers[:2]))
    for taker in takers[:2]:
        assert await same(taker, manifest, model)
    assert origin.served.chunk_bytes <= 1.2 * manifest.size, "its part is shared out anew, not pulled by everybody"
    await takers[2].fetch(manifest.digest, plan)
    assert await same(takers[2], manifest, model)


async def test_who_joins_later_is_served_by_those_that_fetch(lab: Swarm, tmp_path: Path) -> None:
    model = write_model(tmp_path / "large", 24 * MIB)
    origin = await lab.add("origin/a")
    manifest = await hold(origin, model)

    async def slowly() -> None:
        await asyncio.sleep(0.02)

    origin.served.before_frame = slowly
    first, second = await lab.add("r0/a"), await lab.add("r1/a")
    alone = lab.plan(manifest.digest, ["origin/a"], ["r0/a"])
    fetching = asyncio.create_task(first.fetch(manifest.digest, alone))
    await until(lambda: origin.served.chunk_bytes > manifest.size // 3)
    both = lab.plan(manifest.digest, ["origin/a"], ["r0/a", "r1/a"], version=2)
    first.fetcher.replan(manifest.digest, both)
    await asyncio.gather(fetching, second.fetch(manifest.digest, both))
    assert await same(first, manifest, model) and await same(second, manifest, model)
    assert first.served.chunk_bytes > manifest.size // 4, "what it had is not sent by the origin again"
    assert origin.served.chunk_bytes < 1.4 * manifest.size


async def test_no_more_comes_than_the_limit_allows(lab: Swarm, model: Path) -> None:
    """What came by any instant is bounded by the time that has gone by: true on a machine of any speed."""
    limit = 8 * MIB
    holders = [await lab.add(key) for key in ("eu/a", "ap/a")]
    manifest = await hold(holders[0], model)
    await hold(holders[1], model)
    taker = await lab.add("us/a", limit=limit)
    began = time.monotonic()
    seen: list[tuple[float, int]] = []
    taker.on_progress = lambda here, _: seen.append((time.monotonic() - began, here))
    await taker.fetch(manifest.digest, lab.plan(manifest.digest, ["eu/a", "ap/a"], ["us/a"]))
    assert len(seen) > 5
    assert all(here <= limit * (elapsed + BURST_S) for elapsed, here in seen)
    assert await same(taker, manifest, model)


async def test_two_that_want_the_same_fetch_it_once(lab: Swarm, model: Path) -> None:
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(origin, model)
    await asyncio.gather(*(taker.fetch(manifest.digest, fallback=["eu/a"]) for _ in range(3)))
    assert origin.served.chunk_bytes == manifest.size


async def test_chunks_that_are_alike_come_once(lab: Swarm, tmp_path: Path) -> None:
    model = write_model(tmp_path / "zeros", 1)
    (model / "weights.bin").write_bytes(bytes(20 * MIB))
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(origin, model)
    await taker.fetch(manifest.digest, fallback=["eu/a"])
    assert await same(taker, manifest, model)
    assert origin.served.chunk_bytes < 4 * MIB


async def test_thousands_of_tiny_files(lab: Swarm, tmp_path: Path) -> None:
    model = write_model(tmp_path / "many", 1)
    for number in range(6_000):
        (model / f"f{number}").write_text(f"{number}\n")
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    manifest = await hold(origin, model)
    assert len(manifest.chunks) > 5_000
    assert all(len(piece) <= 256 for piece in cut_pieces([chunk.length for chunk in manifest.chunks]))
    await taker.fetch(manifest.digest, fallback=["eu/a"])
    assert await same(taker, manifest, model)


def _certificates(folder: Path) -> tuple[ServerTls, ClientTls]:
    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)

    key = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", "-newkey", *key, "-days", "2", "-subj", "/CN=ca",
            "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem")  # fmt: skip
    openssl("req", "-newkey", *key, "-subj", "/CN=agent", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", f"{folder}/agent.key", "-out", f"{folder}/agent.csr")  # fmt: skip
    openssl("x509", "-req", "-in", f"{folder}/agent.csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", f"{folder}/agent.pem")  # fmt: skip
    ca, certificate, private = f"{folder}/ca.pem", f"{folder}/agent.pem", f"{folder}/agent.key"
    return ServerTls(certificate, private, client_ca=ca), ClientTls(ca, certificate, private)


async def test_over_tls_and_only_over_tls(tmp_path: Path, model: Path) -> None:
    server_tls, client_tls = _certificates(tmp_path)
    async with swarm(tmp_path / "agents", server_tls, client_tls) as lab:
        origin, taker = await lab.add("eu/a"), await lab.add("us/a")
        manifest = await hold(origin, model)
        await taker.fetch(manifest.digest, fallback=["eu/a"])
        assert await same(taker, manifest, model)
        lab._client_tls = ClientTls(client_tls.ca)
        stranger = await lab.add("sa/a")
        with pytest.raises(FetchFailed, match="UNAVAILABLE"):
            await stranger.fetch(manifest.digest, fallback=["eu/a"])


async def test_a_holder_that_reads_no_more_than_is_taken(lab: Swarm, model: Path) -> None:
    """Bounded memory: a receiver that has stopped reading makes the sender stop."""
    origin, taker = await lab.add("eu/a"), await lab.add("us/a", limit=1)
    manifest = await hold(origin, model)
    fetching = asyncio.create_task(taker.fetch(manifest.digest, fallback=["eu/a"]))
    await until(lambda: origin.served.chunk_bytes > 0)
    before = -1
    async with asyncio.timeout(WITHIN_S):
        while origin.served.chunk_bytes != before:  # At rest: half a second without a byte.
            before = origin.served.chunk_bytes
            await asyncio.sleep(0.5)
    assert before < manifest.size // 2, "what was not read is not sent"
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching


async def test_a_final_failure_is_a_manifest_that_cannot_be_one(lab: Swarm, tmp_path: Path) -> None:
    """It is what its digest says, so nobody can have a better one."""
    origin, taker = await lab.add("eu/a"), await lab.add("us/a")
    content = b"no manifest"
    digest = blake3(content).hexdigest()
    store: ContentStore = origin.store
    (tmp_path / "agents" / "eu-a" / "store" / "manifests" / digest).write_bytes(content)
    assert store.manifest(digest) is None
    with pytest.raises(FetchFailed) as caught:
        await taker.fetch(digest, fallback=["eu/a"])
    assert caught.value.final
