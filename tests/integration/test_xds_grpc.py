"""gRPC clients that use `xds:///` obey the weights, without a proxy; and Envoy does where the services speak gRPC."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
import pytest
from primacy_agent.dataplane.addresses import locate
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.building import assign, build_assignments, build_frame, freeze
from primacy_agent.dataplane.xds.endpoints import build_endpoints
from primacy_agent.dataplane.xds.kinds import LISTENER
from primacy_wire.bootstraps import grpc_bootstrap

from tests.integration.envoys import (
    GROUP,
    RegionalService,
    agent,
    agent_process,
    envoy,
    listening,
    regional_services,
    row,
    traffic,
    until,
)

pytestmark = pytest.mark.integration
COUNT = 4_000
Services = dict[str, RegionalService]


@pytest.fixture
def services() -> Iterator[Services]:
    with regional_services("grpc") as started:
        yield started


class Client:
    """A client in a process of its own: gRPC reads its bootstrap once."""

    def __init__(self, child: subprocess.Popen[str]) -> None:
        self._child = child

    def order(self, line: str) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")

    async def ask(self, line: str) -> Counter[str]:
        self.order(line)
        assert self._child.stdout is not None
        return Counter(json.loads(await asyncio.to_thread(self._child.stdout.readline)))

    async def more(self, count: int) -> Counter[str]:
        """Where the next so many calls of the load went, or how they failed."""
        before = await self.ask("so far")
        now = before
        async with asyncio.timeout(20):
            while now.total() < before.total() + count:
                now = await self.ask("so far")
        return now - before


@contextmanager
def grpc_client(xds: str, folder: Path, target: str = f"xds:///{GROUP}") -> Iterator[Client]:
    path = folder / "grpc.json"
    path.write_text(json.dumps(grpc_bootstrap(xds, GROUP, "us", "client-1")))
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.xds_grpc_client", str(path), target],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    try:
        yield Client(child)
    finally:
        child.kill()
        child.communicate()


def is_near(found: Counter[str], **shares: float) -> bool:
    """Within three in a hundred: gRPC draws by chance."""
    return set(found) <= set(shares) and all(
        abs(found[region] / found.total() - share) <= 0.03 for region, share in shares.items()
    )


async def test_the_split_is_as_the_weights_say_and_a_change_reaches_new_calls(
    services: Services, tmp_path: Path
) -> None:
    async with agent() as made:
        with grpc_client(made.output.address, tmp_path) as client:
            made.output.apply(traffic(services, 1, row(ap=0.7, eu=0.2, us=0.1)))
            assert is_near(await client.ask(f"calls {COUNT}"), ap=0.7, eu=0.2, us=0.1)
            assert await client.ask("writes 50") == {"us": 50}
            await made.apply(traffic(services, 2, row(ap=0.1, eu=0.2, us=0.7), write=row(eu=1.0)))
            await until_split(client, ap=0.1, eu=0.2, us=0.7)
            assert await client.ask("writes 50") == {"eu": 50}
            (shown,) = made.output.clients()
            assert shown.node == "client-1" and shown.user_agent.startswith("gRPC") and not shown.incremental
            assert [one.resources for one in shown.subscriptions if one.type_url == LISTENER] == [("shop",)]


async def until_split(client: Client, **shares: float) -> None:
    """An ACK says that gRPC has parsed it; a moment later calls follow it."""
    async with asyncio.timeout(20):
        while not is_near(await client.ask(f"calls {COUNT}"), **shares):
            pass


async def test_those_who_only_write_dial_a_name_of_their_own(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row(ap=1.0)))
        with grpc_client(made.output.address, tmp_path, f"xds:///{GROUP}.write") as client:
            assert await client.ask("calls 50") == {"us": 50}


async def test_a_drained_region_loses_no_call_and_finishes_those_it_has(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row(us=1.0)))
        with grpc_client(made.output.address, tmp_path) as client:
            client.order("hold 4")
            await asyncio.to_thread(services["us"].wait_held, 4)
            client.order("load")
            await client.more(200)
            await made.apply(traffic(services, 2, row(ap=0.5, eu=0.5), drained=("us",)))
            while set(await client.more(100)) != {"ap", "eu"}:
                pass
            services["us"].release()
            assert await client.ask("held") == {"us": 4}
            services["us"].kill()
            await client.more(500)
            assert set(await client.ask("so far")) <= {"ap", "eu", "us"}


async def test_a_killed_region_loses_no_call_that_another_can_serve(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row(ap=0.5, eu=0.3, us=0.2)))
        with grpc_client(made.output.address, tmp_path) as client:
            client.order("load")
            assert (await client.more(500))["ap"] > 0
            services["ap"].kill()
            await client.more(2_000)
            assert "ap" not in await client.more(500)
            assert set(await client.ask("so far")) == {"ap", "eu", "us"}


async def test_a_killed_agent_leaves_the_weights_in_force_and_goes_on_without_a_blip(
    services: Services, tmp_path: Path
) -> None:
    with agent_process() as made:
        made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
        with grpc_client(made.address, tmp_path) as client:
            client.order("load")
            await client.more(500)
            made.kill()
            assert is_near(await client.more(COUNT), ap=0.7, eu=0.3)
            made.start()
            made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
            await client.more(500)
            made.apply(traffic(services, 2, row(us=1.0)))
            async with asyncio.timeout(20):
                while set(await client.more(100)) != {"us"}:
                    pass
            assert set(await client.ask("so far")) == {"ap", "eu", "us"}


async def test_what_a_client_rejects_is_shown_and_the_last_weights_stay(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        good = traffic(services, 1, row(ap=0.7, eu=0.3))
        made.output.apply(good)
        with grpc_client(made.output.address, tmp_path) as client:
            assert set(await client.ask("calls 100")) == {"ap", "eu"}
            places = locate(good.endpoints, {})
            assignments, withheld = build_assignments(good, places, None)
            bad = build_endpoints(GROUP, good.read, (), places.addresses, 1.0)
            assert bad is not None
            bad.endpoints.append(bad.endpoints[0])
            frame = build_frame(GROUP, UpstreamProtocol.HTTP1, good.panic_threshold)
            made.output.discovery.publish(freeze(frame, [assign(bad), assignments[1]], withheld, 2))
            await until(lambda: made.output.trouble)
            assert "client-1 rejects ClusterLoadAssignment" in made.output.trouble
            assert [name for name, _ in made.told] == ["dataplane-rejected"]
            assert is_near(await client.ask(f"calls {COUNT}"), ap=0.7, eu=0.3)
            await made.apply(traffic(services, 3, row(us=1.0)))
            async with asyncio.timeout(20):
                while await client.ask("calls 50") != {"us": 50}:
                    pass
            assert made.output.trouble == ""


async def test_a_name_that_there_is_not_fails_and_is_shown(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row(ap=1.0)))
        with grpc_client(made.output.address, tmp_path, "xds:///shopp") as client:
            (failure,) = await client.ask("calls 1")
            assert failure.startswith("UNAVAILABLE")
            (shown,) = made.output.clients()
            assert [one.unknown for one in shown.subscriptions if one.type_url == LISTENER] == [("shopp",)]


async def test_a_row_that_is_all_zero_fails_at_once(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row()))
        with grpc_client(made.output.address, tmp_path) as client:
            (failure,) = await client.ask("calls 1")
            assert failure.startswith("UNAVAILABLE")
            await made.apply(traffic(services, 2, row(eu=1.0)))
            async with asyncio.timeout(20):
                while await client.ask("calls 10") != {"eu": 10}:
                    pass


async def test_what_was_sent_where_is_reported(services: Services, tmp_path: Path) -> None:
    async with agent() as made:
        made.output.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
        with grpc_client(made.output.address, tmp_path) as client:
            client.order("load")
            await until(lambda: made.counted["ap", 1, "ok"] > 0 and made.counted["eu", 1, "ok"] > 0)


@pytest.mark.needs("envoy")
async def test_envoy_speaks_grpc_with_services_that_do(services: Services) -> None:
    async with agent(protocol=UpstreamProtocol.HTTP2) as made:
        with envoy(made.output.address) as port:
            await made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
            await listening(port)
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                where = channel.unary_unary("/test.Regions/Where")
                found = Counter([(await where(b"")).decode() for _ in range(500)])
                assert set(found) == {"ap", "eu"} and abs(found["ap"] - 350) <= 5
                assert await where(b"", metadata=(("primacy-class", "write"),)) == b"us"
                services["ap"].kill()
                again = Counter([(await where(b"")).decode() for _ in range(500)])
                assert set(again) == {"eu"}
