"""Are the agents there, alike, on time, and where others can find them? Can they run their hooks?"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator

from primacy.v1 import agent_pb2, region_pb2
from primacy.v1.election_pb2 import Failover
from primacy.v1.status_service_pb2 import GetStatusResponse

from primacy_cli.checkup.checks import Check, fail, warn, well
from primacy_cli.words import length, plural, span

CLOCK_WARN_NS = 1_000_000_000
CLOCK_FAIL_NS = 10_000_000_000
"""Leases rest on no wall clock; histories, expiries and the order of configs do."""
LATE_INTERVALS = 4


def _agents(status: GetStatusResponse) -> Iterator[tuple[region_pb2.Region, agent_pb2.RegionAgent, str]]:
    """(region, agent, `REGION/AGENT`)."""
    for region in status.regions:
        for agent in region.agents:
            yield region, agent, f"{region.name}/{agent.agent}"


def sessions(status: GetStatusResponse) -> Iterator[Check]:
    """Has every region an agent that reports?"""
    connected = 0
    late_ns = LATE_INTERVALS * status.policy.report_interval.ToNanoseconds()
    for region in status.regions:
        here = [agent for agent in region.agents if agent.connected]
        connected += len(here)
        advice = f"start it; `primacy regions show {region.name}` says which"
        if not region.agents:
            yield warn("agents", f"no agent of {region.name} has come yet", f"start one with region: {region.name}")
        elif not here:
            yield fail("agents", f"no agent of {region.name} is connected: it cannot be elected", advice)
        elif len(here) < len(region.agents):
            gone = ", ".join(agent.agent for agent in region.agents if not agent.connected)
            yield warn("agents", f"{gone} of {region.name} is not connected", advice)
        for agent in here:
            if agent.HasField("last_report_age") and 0 < late_ns < agent.last_report_age.ToNanoseconds():
                yield fail(
                    "agents",
                    f"{region.name}/{agent.agent} has not reported for {length(agent.last_report_age)}",
                    "look at its log, and at the load of its machine",
                )
    if not status.regions:
        yield fail("agents", "no region is registered", "start an agent, or `primacy regions register NAME`")
    if connected:
        yield well("agents", f"{plural(connected, 'agent')} of {plural(len(status.regions), 'region')} connected")


def versions(status: GetStatusResponse) -> Iterator[Check]:
    found: dict[str, list[str]] = defaultdict(list)
    for _, agent, name in _agents(status):
        if agent.connected and agent.detail.version:
            found[agent.detail.version].append(name)
    other = {version: names for version, names in found.items() if version != status.coordinator.version}
    if other:
        listed = "; ".join(f"{', '.join(names)}: {version}" for version, names in sorted(other.items()))
        yield warn("versions", f"the coordinator is {status.coordinator.version}, but {listed}", "finish the upgrade")
    elif found:
        yield well("versions", f"everything is version {status.coordinator.version}")


def clocks(status: GetStatusResponse) -> Iterator[Check]:
    """How far do wall clocks differ from the coordinator's?"""
    worst_ns, measured = 0, 0
    for _, agent, name in _agents(status):
        if not agent.connected or not agent.HasField("clock_offset"):
            continue
        measured += 1
        offset_ns = agent.clock_offset.ToNanoseconds()
        worst_ns = max(worst_ns, abs(offset_ns))
        if abs(offset_ns) < CLOCK_WARN_NS:
            continue
        found = (
            f"the clock of {name} is {span(offset_ns)} {'ahead of' if offset_ns > 0 else 'behind'} the coordinator's"
        )
        advice = "run a time service there (chrony, systemd-timesyncd)"
        yield (fail if abs(offset_ns) >= CLOCK_FAIL_NS else warn)("clocks", found, advice)
    if measured and worst_ns < CLOCK_WARN_NS:
        yield well("clocks", f"{plural(measured, 'clock')} within {span(worst_ns)} of the coordinator's")


def ports(status: GetStatusResponse) -> Iterator[Check]:
    """Do agents name addresses at which others can find them?"""
    hosts = {agent.host for _, agent, _ in _agents(status) if agent.connected}
    taken: dict[tuple[str, str], list[str]] = defaultdict(list)
    good = 0
    for _, agent, name in _agents(status):
        if not agent.connected:
            continue
        advice = f"set `advertise` in the configuration of {name}"
        if not agent.peer_address:
            yield fail("ports", f"{name} names no address: other agents cannot look at it", advice)
        elif len(hosts) > 1 and _is_loopback(agent.peer_address):
            yield fail("ports", f"{name} is on another machine, but names {agent.peer_address}", advice)
        else:
            good += 1
        if agent.peer_address:
            # Behind one gateway agents differ by port; one loopback address on two machines is not one agent.
            host = agent.host if _is_loopback(agent.peer_address) else ""
            taken[host, agent.peer_address].append(name)
    for (_, address), names in sorted(taken.items()):
        if len(names) > 1:
            yield fail("ports", f"{' and '.join(names)} name the same address {address}", "give each its own")
    if good:
        yield well("ports", f"{plural(good, 'agent')} can be found by others")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hooks(status: GetStatusResponse, moves: Iterable[Failover]) -> Iterator[Check]:
    """Could every configured hook be started, and how did each one's newest run end? `moves`: newest first."""
    configured = 0
    for _, agent, name in _agents(status):
        for hook in agent.detail.hooks:
            configured += 1
            if hook.problem:
                advice = f"mend it, or the hook in the configuration of {name}"
                yield fail("hooks", f"{hook.hook} of {name} cannot run {hook.program}: {hook.problem}", advice)
    seen: set[tuple[str, str]] = set()
    for move in moves:
        for run in reversed(move.hooks):
            if (run.agent, run.hook) in seen:
                continue
            seen.add((run.agent, run.hook))
            if run.outcome != "succeeded":
                advice = f"`primacy history {move.id}` shows what it printed"
                yield warn("hooks", f"{run.hook} of {run.agent} {run.outcome} when it ran last", advice)
    partly = [
        region.name
        for region in status.regions
        if len({bool(agent.detail.hooks) for agent in region.agents if agent.connected}) > 1
    ]
    if partly:
        found = f"some agents of {', '.join(partly)} have hooks and others have none"
        yield warn("hooks", found, "configure all agents of a region alike")
    if configured:
        yield well("hooks", f"{plural(configured, 'hook')} configured")
