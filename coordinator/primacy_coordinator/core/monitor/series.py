"""Which series there are, what they say, and how those of several regions become one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Key(NamedTuple):
    """One series of one region."""

    name: str
    region: str
    target: str = ""
    """The region at its other end, of series that have one."""


class Merge(IntEnum):
    """How regions become one, when nobody says how."""

    SUM = 1
    MEAN = 2
    MAX = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a series by its name."""

    name: str
    description: str
    unit: str = ""
    """`seconds`, `share`, `per second`, `bytes`, `count` or empty."""
    merge: Merge = Merge.MEAN
    distribution: bool = False
    """It comes as sketches, of which quantiles can be asked."""
    paired: bool = False
    """Each is about a region and another one."""
    part: str = ""
    whole: str = ""
    """It is a share: its mean is the mean of the one series over that of the other. A share of an idle region must not
    weigh as much as that of a busy one."""


_KINDS = (
    Kind("request_rate", "Requests per second.", "per second", Merge.SUM),
    Kind("failed_rate", "Requests per second that failed.", "per second", Merge.SUM),
    Kind("error_rate", "Share of requests that failed.", "share", part="failed_rate", whole="request_rate"),
    Kind("latency_seconds", "Time of a request.", "seconds", distribution=True),
    Kind("utilisation", "Share of the capacity in use.", "share", part="used", whole="capacity"),
    Kind("used", "Part of the capacity in use, in requests per second.", "per second", Merge.SUM),
    Kind("capacity", "Requests per second that the region can serve.", "per second", Merge.SUM),
    Kind("in_flight", "Requests being worked on.", "count", Merge.SUM),
    Kind("rtt_seconds", "Round trip to another region.", "seconds", paired=True),
    Kind("lag_seconds", "How old what the region has not applied is.", "seconds", Merge.MAX),
    Kind("lag_entries", "Entries that the region has not applied.", "count", Merge.MAX),
    Kind("lag_bytes", "Bytes that the region has not applied.", "bytes", Merge.MAX),
    Kind("weight", "Share of the region's reads that a target should get.", "share", paired=True),
    Kind("routed_rate", "Requests per second that agents sent to a target.", "per second", Merge.SUM, paired=True),
    Kind("healthy_share", "Share of the region's instances that are healthy.", "share"),
    Kind("agents", "Agents that are connected.", "count", Merge.SUM),
    Kind("serving", "1 while the region serves, else 0.", "share"),
    Kind("active", "1 while the region holds the active lease, else 0.", "share", Merge.SUM),
)
BUILT_IN: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
DISTRIBUTIONS = frozenset(kind.name for kind in _KINDS if kind.distribution)


def kind_of(name: str) -> Kind:
    """A name that is not built in is a figure of the service itself, as its agents read it."""
    return BUILT_IN.get(name) or Kind(name, "A figure of the service, as its agents read it.", distribution=True)
