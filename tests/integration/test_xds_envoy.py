"""A real Envoy obeys the weights: what it sends where, what it loses, and what becomes of it without the agent."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from primacy_agent.dataplane.addresses import locate
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds import loads
from primacy_agent.dataplane.xds.building import assign, build_assignments, build_frame, freeze
from primacy_agent.dataplane.xds.endpoints import build_endpoints
from primacy_wire.bootstraps import envoy_bootstrap

from tests.integration.coordinators import free_port
from tests.integration.envoys import (
    GROUP,
    REGIONS,
    WAIT_S,
    HttpClient,
    RegionalService,
    agent,
    agent_process,
    becomes,
    envoy,
    find_envoy,
    listening,
    load,
    regional_services,
    row,
    split,
    traffic,
    until,
)

pytestmark = [pytest.mark.integration, pytest.mark.needs("envoy")]
COUNT = 1_000
Services = dict[str, RegionalService]


@pytest.fixture(autouse=True)
def _envoy() -> None:
    find_envoy()


@pytest.fixture
def services() -> Iterator[Services]:
    with regional_services() as started:
        yield started


@pytest.fixture(params=["world", "incremental"])
def incremental(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "incremental")


def is_near(found: Counter[str], **shares: float) -> bool:
    """Within one in a hundred: Envoy spreads by turns, not by chance."""
    count = found.total()
    return set(found) <= set(shares) and all(
        abs(found[region] / count - share) <= 0.01 for region, share in shares.items()
    )


def near(**shares: float) -> Callable[[Counter[str]], bool]:
    return lambda found: is_near(found, **shares)


def exactly(wanted: dict[str, int]) -> Callable[[Counter[str]], bool]:
    return lambda found: found == wanted


async def test_the_split_is_as_the_weights_say_and_a_change_reaches_new_requests(
    services: Services, incremental: bool
) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            await made.apply(traffic(services, 1, row(ap=0.7, eu=0.2, us=0.1)))
            await listening(port)
            await becomes(port, near(ap=0.7, eu=0.2, us=0.1))
            await becomes(port, exactly({"us": 100}), 100, write=True)
            async with load(port) as running:
                await made.apply(traffic(services, 2, row(ap=0.1, eu=0.2, us=0.7), write=row(eu=1.0)))
                await running.more()
                assert not running.failed
            await becomes(port, near(ap=0.1, eu=0.2, us=0.7))
            await becomes(port, exactly({"eu": 100}), 100, write=True)
            (client,) = made.output.clients()
            assert (client.node, client.user_agent.partition("/")[0], client.incremental) == (
                "envoy-1", "envoy", incremental,
            )  # fmt: skip


async def test_clusters_that_change_are_in_force_at_once(services: Services, incremental: bool) -> None:
    admin = free_port()
    async with agent() as made:
        with envoy(made.output.address, incremental, admin) as port:
            await made.apply(traffic(services, 1, row(ap=1.0)))
            await listening(port)
            async with load(port) as running:
                await running.more()
                # New clusters, and the endpoints that there were.
                await made.apply(traffic(services, 2, row(ap=1.0), panic_threshold=0.2))
                async with asyncio.timeout(WAIT_S):
                    while (await counters(admin, "cluster_manager"))["cluster_manager.cluster_modified"] != "2":
                        await running.more(50)
                    while (await counters(admin, "cluster_manager"))["cluster_manager.warming_clusters"] != "0":
                        await running.more(50)
                assert not running.failed
            # Without their endpoints they would have waited until they gave up.
            assert set((await counters(admin, "init_fetch_timeout")).values()) == {"0"}


async def counters(admin: int, name: str) -> dict[str, str]:
    """Of Envoy's own, all with that in their names."""
    _, text = await HttpClient(admin).get(f"/stats?filter={name}")
    return dict(line.split(": ") for line in text.splitlines())


async def test_a_drained_region_loses_no_request_and_finishes_those_it_has(
    services: Services, incremental: bool
) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            await made.apply(traffic(services, 1, row(us=1.0)))
            await listening(port)
            held = [asyncio.create_task(HttpClient(port).get("/hold")) for _ in range(4)]
            await asyncio.to_thread(services["us"].wait_held, 4)
            async with load(port) as running:
                await running.more()
                await made.apply(traffic(services, 2, row(ap=0.5, eu=0.5), drained=("us",)))
                async with asyncio.timeout(WAIT_S):
                    while set(await running.more()) != {"ap", "eu"}:
                        pass
                services["us"].release()
                assert await asyncio.gather(*held) == [(200, "us")] * 4
                services["us"].kill()
                await running.more()
                assert not running.failed


@pytest.mark.parametrize(
    ("read", "fallback"), [(row(ap=0.5, eu=0.3, us=0.2), ()), (row(ap=1.0), ("us", "eu"))], ids=["shared", "alone"]
)
async def test_a_killed_region_loses_no_request_that_another_can_serve(
    services: Services, incremental: bool, read: Any, fallback: tuple[str, ...]
) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            await made.apply(traffic(services, 1, read, fallback=fallback))
            await listening(port)
            async with load(port, connections=16) as running:
                assert (await running.more())["ap"] > 0
                services["ap"].kill()
                await running.more(3 * COUNT)
                assert not running.failed


async def test_a_killed_agent_leaves_the_weights_in_force_and_goes_on_without_a_blip(
    services: Services, incremental: bool
) -> None:
    with agent_process() as made, envoy(made.address, incremental) as port:
        made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
        await listening(port)
        async with load(port) as running:
            await running.more()
            made.kill()
            assert is_near(await running.more(3 * COUNT), ap=0.7, eu=0.3)
            made.start()
            # The first that it knows is what was in force; then something new.
            made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
            await running.more(COUNT)
            made.apply(traffic(services, 2, row(us=1.0)))
            while await running.more(50) != {"us": 50}:
                pass
            assert not running.failed


async def test_an_agent_that_knows_no_weights_yet_takes_nothing_away(services: Services, incremental: bool) -> None:
    with agent_process() as made, envoy(made.address, incremental) as port:
        made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
        await listening(port)
        made.kill()
        made.start()
        async with load(port) as running:
            await running.more(2 * COUNT)
            assert not running.failed


async def test_what_envoy_rejects_is_shown_and_the_last_weights_stay(services: Services, incremental: bool) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            good = traffic(services, 1, row(ap=0.7, eu=0.3))
            await made.apply(good)
            await listening(port)
            places = locate(good.endpoints, {})
            assignments, withheld = build_assignments(good, places, None)
            bad = build_endpoints(GROUP, good.read, (), places.addresses, 1.0)
            assert bad is not None
            place = bad.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
            place.port_value = 70_000
            frame = build_frame(GROUP, UpstreamProtocol.HTTP1, good.panic_threshold)
            made.output.discovery.publish(freeze(frame, [assign(bad), assignments[1]], withheld, 2))
            await until(lambda: made.output.trouble)
            assert "envoy-1 rejects ClusterLoadAssignment" in made.output.trouble
            ((name, text),) = made.told
            assert name == "dataplane-rejected" and "PortValue" in text
            nacks = [figure for figure in made.output.figures() if figure.labels.get("answer") == "nack"]
            assert [(figure.value, figure.labels["type"]) for figure in nacks] == [(1, "eds")]
            await becomes(port, near(ap=0.7, eu=0.3))
            await made.apply(traffic(services, 3, row(us=1.0)))
            await becomes(port, exactly({"us": 100}), 100)
            assert made.output.trouble == ""


async def test_a_row_that_is_all_zero_sends_nothing_anywhere(services: Services, incremental: bool) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            await made.apply(traffic(services, 1, row(ap=1.0), write=row()))
            await listening(port)
            await becomes(port, exactly({"ap": 10}), 10)
            await becomes(port, exactly({"503 no healthy upstream": 10}), 10, write=True)
            await made.apply(traffic(services, 2, row(), write=row(us=1.0)))
            await becomes(port, exactly({"503 no healthy upstream": 10}), 10)
            await becomes(port, exactly({"us": 10}), 10, write=True)


async def test_the_listener_opens_when_there_are_weights_and_regions_without_an_address_do_not_hold_it_up(
    services: Services, incremental: bool
) -> None:
    async with agent() as made:
        with envoy(made.output.address, incremental) as port:
            await until(made.output.clients)
            with pytest.raises(ConnectionRefusedError):
                await HttpClient(port).get()
            good = traffic(services, 1, row(ap=0.5, eu=0.5))
            made.output.apply(replace(good, endpoints=(("ap", good.endpoints[0][1]), ("eu", ""), ("us", "us"))))
            await listening(port)  # No region that takes writes has an address.
            await becomes(port, exactly({"ap": 100}), 100)
            assert [name for name, _ in made.told] == ["endpoint-missing", "endpoint-missing"]
            await made.apply(good)
            await becomes(port, near(ap=0.5, eu=0.5))
            await becomes(port, exactly({"us": 10}), 10, write=True)


async def test_what_was_sent_where_is_reported(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "INTERVAL_S", 1)
    async with agent() as made:
        with envoy(made.output.address) as port:
            await made.apply(traffic(services, 1, row(ap=0.7, eu=0.3)))
            await listening(port)
            # Envoy counts once it was told to. What it then reports of one request has all that came before.
            while not made.counted:
                await split(port, 1)
            counted = made.counted.copy()
            await split(port, 1)
            await until(lambda: made.counted != counted)
            made.counted.clear()
            await split(port, 100)
            await split(port, 50, write=True)
            services["us"].kill()
            await split(port, 5, write=True)
            # Each of the five is tried four times.
            await until(lambda: made.counted.total() == 170)
            assert made.counted["ap", 1, "ok"] + made.counted["eu", 1, "ok"] == 100
            assert abs(made.counted["ap", 1, "ok"] - 70) <= 1
            assert (made.counted["us", 2, "ok"], made.counted["us", 2, "error"]) == (50, 20)


async def test_envoy_may_follow_by_a_unix_socket(services: Services, tmp_path: Path) -> None:
    async with agent(f"unix:{tmp_path}/xds.sock") as made:
        with envoy(made.output.address) as port:
            await made.apply(traffic(services, 1, row(eu=1.0)))
            await listening(port)
            await becomes(port, exactly({"eu": 100}), 100)


@pytest.mark.parametrize("xds", ["127.0.0.1:7420", "[::1]:7420", "localhost:7420", "unix:/run/agent.sock"])
def test_envoy_takes_every_bootstrap(xds: str, incremental: bool, tmp_path: Path) -> None:
    made = envoy_bootstrap(xds, "shop", REGIONS[0], "127.0.0.1:8080", "envoy-1", incremental=incremental)
    path = tmp_path / "envoy.json"
    path.write_text(json.dumps(made))
    ran = subprocess.run(
        [find_envoy(), "--mode", "validate", "-c", str(path), "--use-dynamic-base-id"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
