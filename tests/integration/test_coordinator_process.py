"""The coordinator as a process: how it refuses to start, reloads, stops, stalls and meets a full disk."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from primacy.v1 import election_service_pb2 as election
from primacy.v1 import policy_service_pb2 as policies
from primacy.v1 import region_service_pb2 as region
from primacy.v1 import status_service_pb2 as status
from primacy.v1.election_service_pb2_grpc import ElectionServiceStub
from primacy.v1.policy_service_pb2_grpc import PolicyServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.channel import ClientTls, make_channel

from tests.integration.coordinators import CoordinatorProcess, HandAgent, until

pytestmark = pytest.mark.integration

POLICY = "leaseTtl: 2s\nreportInterval: 0.25s\ngrace: 0.25s\nfirstWait: 0.25s\n"

Make = Callable[..., CoordinatorProcess]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[CoordinatorProcess] = []

    def one(*flags: str, folder: Path | None = None) -> CoordinatorProcess:
        process = CoordinatorProcess(folder or tmp_path / f"state-{len(made)}", *flags)
        made.append(process)
        return process

    yield one
    for process in made:
        process.close()


@pytest.fixture
def quick(tmp_path: Path) -> tuple[str, str]:
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return "--policy", str(file)


def ends(*arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "primacy_coordinator.main", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def refuses(*arguments: str) -> str:
    """The one line with which it refuses to run."""
    code, out, err = ends(*arguments)
    assert code == 1, err
    assert out == ""
    (line,) = err.strip().splitlines()
    assert line.startswith("primacy-coordinator: ")
    return line


def ports() -> tuple[str, str, str, str]:
    return "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"


# ---- refusing to start


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flags in (("--grpc", address, "--http", ""), ("--grpc", "127.0.0.1:0", "--http", address)):
            assert address in refuses("--data-dir", str(tmp_path / "state"), *flags)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert str(in_the_way) in refuses("--data-dir", str(in_the_way / "state"), *ports())


def test_a_store_that_another_process_has(make: Make) -> None:
    first = make()
    first.start()
    assert first.process is not None
    line = refuses("--data-dir", str(first.folder), *ports())
    assert str(first.folder) in line
    assert str(first.process.pid) in line
    assert first.stop() == 0


def test_a_store_of_a_newer_version_is_left_alone(make: Make) -> None:
    process = make()
    process.start()
    assert process.stop() == 0
    store = process.folder / "store.db"
    connection = sqlite3.connect(store)
    connection.execute("PRAGMA user_version = 9999")
    connection.close()
    before = store.read_bytes()
    assert "newer" in refuses("--data-dir", str(process.folder), *ports())
    assert store.read_bytes() == before


def test_a_damaged_store_is_left_alone(make: Make) -> None:
    process = make()
    process.start()
    assert process.stop() == 0
    store = process.folder / "store.db"
    store.write_bytes(b"this is no database, though it is long enough to look at" * 100)
    before = store.read_bytes()
    assert "damaged" in refuses("--data-dir", str(process.folder), *ports())
    assert store.read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--grpc", "nowhere"), "grpc.address"),
        (("--grpc", "0.0.0.0:7400"), "--insecure"),
        (("--set", "grpc.adress=127.0.0.1:1"), "grpc.address"),
        (("--log-level", "loud"), "log.level"),
        (("--policy", "/nonexistent/policy.yaml"), "/nonexistent/policy.yaml"),
        (("--config", "/nonexistent/config.yaml"), "/nonexistent/config.yaml"),
    ],
)
def test_wrong_settings_end_with_2(flags: tuple[str, ...], words: str) -> None:
    code, _, err = ends(*flags)
    assert code == 2
    assert words in err
    assert "Traceback" not in err


def test_check_says_whether_the_settings_are_valid(tmp_path: Path) -> None:
    config = tmp_path / "coordinator.yaml"
    config.write_text(f"dataDir: {tmp_path / 'state'}\ngrpc: {{address: '127.0.0.1:7400'}}\n")
    code, out, _ = ends("--config", str(config), "--check")
    assert (code, out.strip()) == (0, "primacy-coordinator: the settings are valid")
    assert not (tmp_path / "state").exists()
    config.write_text("dataDirectory: x\n")
    code, _, err = ends("--config", str(config), "--check")
    assert code == 2
    assert f"{config}:1" in err
    assert "dataDir" in err


def test_it_dies_with_its_parent(make: Make, tmp_path: Path) -> None:
    process = make()
    command = ["-m", "primacy_coordinator.main", "--data-dir", str(process.folder)]
    command += ["--grpc", process.grpc, "--http", process.http]
    code = (
        "import os, subprocess, sys\n"
        "environment = {**os.environ, 'PRIMACY_PARENT_PID': str(os.getpid())}\n"
        f"child = subprocess.Popen([sys.executable, *{command!r}], env=environment)\n"
        "print(child.pid, flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        wait_until_serving(process.grpc)
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, "the coordinator outlived its parent"
        time.sleep(0.05)


def wait_until_serving(address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


# ---- running


async def test_sighup_reloads_what_is_safe(make: Make, quick: tuple[str, str], tmp_path: Path) -> None:
    config = tmp_path / "coordinator.yaml"
    config.write_text("log:\n  level: info\n")
    process = make(*quick, "--config", str(config))
    process.start()
    async with make_channel(process.grpc) as channel:
        stub: Any = PolicyServiceStub(channel)

        async def stable_for() -> int:
            reply = await stub.GetPolicy(policies.GetPolicyRequest())
            return int(reply.policy.stable_for.seconds)

        assert await stable_for() == 60
        Path(quick[1]).write_text(POLICY + "stableFor: 7s\n")
        process.signal(signal.SIGHUP)

        async def changed() -> bool:
            return await stable_for() == 7

        await until(changed)
        # A file that cannot be used changes nothing.
        Path(quick[1]).write_text(POLICY + "stableFor: 8s\nleaseTtl: 99s\n")
        process.signal(signal.SIGHUP)
        await until(said(process, "the settings stay as they are"))
        assert await stable_for() == 7
        Path(quick[1]).write_text(POLICY)
        config.write_text("log:\n  level: debug\nhistory:\n  eventsKept: 5000\n")
        process.signal(signal.SIGHUP)
        await until(said(process, "need a restart: history"))


def said(process: CoordinatorProcess, words: str) -> Callable[[], Any]:
    async def look() -> bool:
        return words in process.log.read_text()

    return look


async def test_a_policy_at_start_is_only_for_a_group_without_one(make: Make, quick: tuple[str, str]) -> None:
    process = make(*quick)
    process.start()
    async with make_channel(process.grpc) as channel:
        stub: Any = PolicyServiceStub(channel)
        policy = (await stub.GetPolicy(policies.GetPolicyRequest())).policy
        assert policy.lease_ttl.seconds == 2
        policy.lease_ttl.seconds = 4
        await stub.SetPolicy(policies.SetPolicyRequest(policy=policy))
    process.stop()
    process.start()
    async with make_channel(process.grpc) as channel:
        stub = PolicyServiceStub(channel)
        assert (await stub.GetPolicy(policies.GetPolicyRequest())).policy.lease_ttl.seconds == 4


async def test_a_frozen_coordinator_blames_nobody(make: Make, quick: tuple[str, str]) -> None:
    """SIGSTOP for many report intervals, less than the TTL: on waking it handles what arrived before any deadline."""
    process = make(*quick)
    process.start()
    async with HandAgent(process.grpc, "eu") as eu, make_channel(process.grpc) as channel:
        elections: Any = ElectionServiceStub(channel)
        await eu.join()

        async def is_active() -> bool:
            reply = await elections.GetActiveRegion(election.GetActiveRegionRequest())
            return bool(reply.region == "eu")

        await until(is_active)
        process.signal(signal.SIGSTOP)
        await asyncio.sleep(1.6)
        process.signal(signal.SIGCONT)
        await until(said(process, "this process stood still"))
        await asyncio.sleep(1.0)
        assert await is_active()
        statuses: Any = StatusServiceStub(channel)
        events = await statuses.ListEvents(status.ListEventsRequest(region="eu", kinds=["region-status"]))
        words = " ".join(event.message.upper() for event in events.events)
        assert "SUSPECT" not in words
        assert "DOWN" not in words
        assert (await eu.exchange()).epoch == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
async def test_a_full_disk_costs_no_lease(make: Make, quick: tuple[str, str], tmp_path: Path) -> None:
    """The store cannot be written, and is needed all the time: renewals go on, and work goes on once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    process = make(*quick, folder=disk / "state")
    process.log = tmp_path / "full.log"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        process.start()
        async with HandAgent(process.grpc, "eu") as eu, make_channel(process.grpc) as channel:
            elections: Any = ElectionServiceStub(channel)
            regions: Any = RegionServiceStub(channel)
            await eu.join()

            async def is_active() -> bool:
                reply = await elections.GetActiveRegion(election.GetActiveRegionRequest())
                return bool(reply.region == "eu")

            await until(is_active)
            with (disk / "ballast").open("wb", buffering=0) as ballast:
                try:
                    while ballast.write(b"x" * 4096):
                        pass
                except OSError:
                    pass  # full now
            refused = 0
            deadline = time.monotonic() + 6
            while time.monotonic() < deadline:
                request = region.RegisterRegionRequest(region={"name": f"r{refused}"})
                try:
                    await regions.RegisterRegion(request, timeout=2)
                except grpc.aio.AioRpcError as error:
                    refused += 1
                    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)  # noqa: PT017
                await asyncio.sleep(0.05)
                # Three times the TTL long, its lease is renewed.
                answer = await eu.exchange()
                assert answer.epoch == 1
            assert refused > 0
            assert "disk is full" in process.log.read_text()
            assert b"disk is full" in await asyncio.to_thread(health, process.http)
            (disk / "ballast").unlink()

            async def registered() -> bool:
                try:
                    await regions.RegisterRegion(region.RegisterRegionRequest(region={"name": "later"}), timeout=2)
                except grpc.aio.AioRpcError as error:
                    return error.code() is grpc.StatusCode.ALREADY_EXISTS
                return True

            await until(registered, 30)
            assert await is_active()
            assert (await eu.exchange()).renews
    finally:
        process.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def health(address: str) -> bytes:
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as reply:
        return bytes(reply.read())


async def test_tls_serves_those_who_trust_it_alone(make: Make, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    process = make("--set", f"tls.certificate={certificate}", "--set", f"tls.key={key}")
    process.spawn()
    async with make_channel(process.grpc, ClientTls(str(certificate))) as channel:
        stub: Any = ElectionServiceStub(channel)
        reply = await stub.GetActiveRegion(election.GetActiveRegionRequest(), wait_for_ready=True, timeout=20)
        assert reply.group == "default"
    async with make_channel(process.grpc) as channel:
        stub = ElectionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetActiveRegion(election.GetActiveRegionRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls_files_that_cannot_be_read(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    flags = "--set", f"tls.certificate={absent}", "--set", f"tls.key={absent}"
    assert absent in refuses("--data-dir", str(tmp_path / "state"), *ports(), *flags)
