"""Snapshots to test with."""

from __future__ import annotations

from dataclasses import replace

from primacy_agent.core.traffic import Row, Traffic
from primacy_agent.dataplane.addresses import Places, locate
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.building import build_assignments, build_frame, freeze
from primacy_agent.dataplane.xds.snapshot import Snapshot

ENDPOINTS = (("ap", "10.0.0.1:80"), ("eu", "10.0.0.2:80"), ("us", "10.0.0.3:80"))


def row(**shares: float) -> Row:
    return tuple((region, shares.get(region, 0.0)) for region, _ in ENDPOINTS)


TRAFFIC = Traffic(
    group="shop",
    region="us",
    version=7,
    strategy=1,
    read=row(us=0.7, eu=0.3),
    write=row(us=1.0),
    endpoints=ENDPOINTS,
    fallback=("ap",),
    overprovisioning=1.4,
)


def places(traffic: Traffic = TRAFFIC) -> Places:
    return locate(traffic.endpoints, {})


def snapshot(read: Row = TRAFFIC.read, write: Row = TRAFFIC.write, panic: float = 0.5) -> Snapshot:
    """With other rows, or (by the panic threshold) other clusters."""
    traffic = replace(TRAFFIC, read=read, write=write, panic_threshold=panic)
    assignments, withheld = build_assignments(traffic, places(traffic), None)
    return freeze(build_frame("shop", UpstreamProtocol.HTTP1, panic), assignments, withheld, traffic.version)


def nowhere() -> Snapshot:
    """No region has an address."""
    assignments, withheld = build_assignments(TRAFFIC, Places(), None)
    return freeze(build_frame("shop", UpstreamProtocol.HTTP1, 0.5), assignments, withheld, TRAFFIC.version)
