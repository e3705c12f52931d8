"""From a fault to the last request that a proxy sends to the dead region: proxies that follow an agent beside the same
ones with health checks of their own.

A real `primacy up`, a real Envoy by xDS and a real HAProxy by agent checks, both told by the agent of another region;
beside them the same Envoy and the same HAProxy that look at the services themselves, with the interval, timeout, rise
and fall that the agents' probes have. All carry requests at the same time, most of them for the region that is hit, so
each fault is one and the same for all of them. No request is tried twice, but for those of one more way, through the
Envoy that follows, with the retries that the agent sets up there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from primacy_wire.bootstraps import envoy_bootstrap

from bench.clusters import POLICY, Cluster, cluster
from bench.proxies import (
    CHECK_S,
    NO_RETRIES,
    TIMEOUT_S,
    Load,
    Target,
    Way,
    envoy,
    envoy_with_checks,
    find_envoy,
    free_port,
    haproxy,
    haproxy_section,
    trusting,
)
from bench.rows import Row

GROUP = "default"
HOME, VICTIM = "us-east", "eu-west"
"""Where the proxies stand, and who is hit; the lease is at home and stays."""
WEIGHTS = {HOME: 10, VICTIM: 80, "ap-south": 10}
READS = {region: weight / 100 for region, weight in WEIGHTS.items()}
RATE = 50.0
"""Requests a second on each way; four fifths of them go to the victim."""
CALM_S = 1.5
LIMIT_S = 30.0

ENVOY, ENVOY_ALONE = "Envoy, by xDS", "Envoy, its own checks"
HAPROXY, HAPROXY_ALONE = "HAProxy, by agent checks", "HAProxy, its own checks"
RETRYING = "Envoy, by xDS, with its retries"
RATIO_MAX = 1.2
PAIRS = ((ENVOY, ENVOY_ALONE, RATIO_MAX), (HAPROXY, HAPROXY_ALONE, 1.35))
"""With the bound on their ratio. HAProxy asks its agent as often as it would look: half of an interval comes on top."""


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    hit: Callable[[Cluster], None]
    repair: Callable[[Cluster], None]


def _signal(running: Cluster, number: int, *kinds: str) -> None:
    for kind in kinds:
        os.kill(running.pid(VICTIM, kind), number)


FAULTS = (
    Fault(
        "service dies",
        lambda running: running.kill(VICTIM, "services"),
        lambda running: running.start_again(VICTIM, "services"),
    ),
    Fault(
        "service stands still",
        lambda running: _signal(running, signal.SIGSTOP, "services"),
        lambda running: _signal(running, signal.SIGCONT, "services"),
    ),
    Fault(
        "region stands still",
        lambda running: _signal(running, signal.SIGSTOP, "agents", "services"),
        lambda running: _signal(running, signal.SIGCONT, "agents", "services"),
    ),
)


def _policy() -> str:
    weights = "".join(f"  {region}: {weight}\n" for region, weight in WEIGHTS.items())
    return POLICY.replace("readStrategy: ACTIVE_ONLY", "readStrategy: WEIGHTED") + "regionWeights:\n" + weights


async def _until(what: str, is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + LIMIT_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"not within {LIMIT_S:g} s: {what}")
        await asyncio.sleep(0.05)


def _is_well(load: Load) -> bool:
    """Every proxy sends most requests to the victim, and each is answered."""
    now_s = time.monotonic()
    found = [load.recent(name, now_s - CALM_S) for name in load.asked]
    return all(len(asked) > RATE / 2 and "" not in asked and asked.count(VICTIM) > len(asked) * 0.6 for asked in found)


def _is_over(load: Load, since_s: float) -> bool:
    """No proxy has sent anything to the victim for a while, as far as answers can be in by now."""
    now_s = time.monotonic()
    calm_s = now_s - TIMEOUT_S - CALM_S
    return calm_s > since_s and not any(
        region in ("", VICTIM) for name in load.asked for region in load.recent(name, calm_s)
    )


@dataclass(frozen=True, slots=True)
class Left:
    """How one way left the victim."""

    last_s: float
    """From the fault to the begin of the last request that the victim got or nobody answered."""
    lost: int
    """Requests that nobody answered."""


async def _measure(
    running: Cluster, ways: dict[str, Way], rounds: int, faults: tuple[Fault, ...]
) -> dict[str, dict[str, list[Left]]]:
    """Fault -> way -> what each round came to."""
    load = Load(ways, RATE)
    load.start()
    found: dict[str, dict[str, list[Left]]] = {fault.name: {name: [] for name in ways} for fault in faults}
    try:
        for _ in range(rounds):
            for fault in faults:
                await _until("all proxies use the region", lambda: _is_well(load))
                hit_s = time.monotonic()
                fault.hit(running)
                await _until(f"all proxies leave the region ({fault.name})", lambda: _is_over(load, hit_s))  # noqa: B023
                for name, asked in load.asked.items():
                    left = Left(asked.last_lost_s(VICTIM, hit_s), asked.count_lost(hit_s))
                    found[fault.name][name].append(left)
                fault.repair(running)
                load.forget()
    finally:
        await load.stop()
    return found


def _start(
    running: Cluster, envoy_program: str, haproxy_program: str, folder: Path, stack: ExitStack
) -> dict[str, Way]:
    """Start all four. Returns the ways through them."""
    targets = [Target(region, running.service_address(region), WEIGHTS[region]) for region in running.names]
    ports = {name: free_port() for *pair, _ in PAIRS for name in pair}
    listen = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    followed = envoy_bootstrap(running.xds_address(HOME), GROUP, HOME, listen[ENVOY], "bench", admin="")
    stack.enter_context(envoy(envoy_program, trusting(followed), folder, "followed"))
    stack.enter_context(envoy(envoy_program, envoy_with_checks(listen[ENVOY_ALONE], targets), folder, "alone"))
    sections = [
        haproxy_section("alone", listen[HAPROXY_ALONE], targets),
        haproxy_section("told", listen[HAPROXY], targets, running.haproxy_address(HOME), GROUP),
    ]
    stack.enter_context(haproxy(haproxy_program, sections, folder))
    ways = {name: Way(port, NO_RETRIES) for name, port in ports.items()}
    return {**ways, RETRYING: Way(ports[ENVOY])}


def run(rounds: int = 5, faults: tuple[Fault, ...] = FAULTS) -> list[Row]:
    """The median over the rounds, of each way and fault; beside it the same proxy alone."""
    envoy_program, haproxy_program = find_envoy(), shutil.which("haproxy")
    if envoy_program is None or haproxy_program is None:
        missing = "Envoy (set PRIMACY_ENVOY to its program)" if envoy_program is None else "haproxy"
        print(f"proxies: skipped, there is no {missing}", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder, cluster(3, _policy(), READS) as running, ExitStack() as stack:
        ways = _start(running, envoy_program, haproxy_program, Path(folder), stack)
        found = asyncio.run(_measure(running, ways, rounds, faults))
    rows = []
    for fault, by_way in found.items():
        for ours, alone, ratio_max in PAIRS:
            value, beside = (1000 * median(left.last_s for left in by_way[name]) for name in (ours, alone))
            name = f"proxies: {fault}: last request to it, {ours}"
            rows.append(Row(name, value, "ms", f"{alone} every {CHECK_S:g} s", beside, ratio_max))
        value, beside = (median(left.lost for left in by_way[name]) for name in (RETRYING, ENVOY_ALONE))
        rows.append(Row(f"proxies: {fault}: requests lost, {RETRYING}", value, "", ENVOY_ALONE, beside, RATIO_MAX))
    return rows
