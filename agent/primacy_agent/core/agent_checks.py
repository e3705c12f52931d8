"""What HAProxy is told of each server: a table from the line that it asks to the line that it gets.

A server line of a configuration asks, by its `agent-send`, for one of

    REGION, GROUP/REGION     its share of reads
    GROUP.write/REGION       its share of writes
    GROUP.fallback/REGION    whether it may take reads when no region with a share of them can be reached (a `backup`)

and is told a percentage of its configured weight, which is 100 by agreement. Every answer names all three of HAProxy's
states (`up`, `ready` or `drain`, and the weight): `drain` and `maint` stay until `ready` is said, whoever said them.
"""

from __future__ import annotations

from collections.abc import Collection

from primacy_agent.core.traffic import Row, Traffic

WRITES = ".write"
FALLBACK = ".fallback"
FALLBACK_NEXT_PERCENT = 1
"""Of all but the first fallback: HAProxy uses them together, so nearly all goes to the first, and the others are there
when it is not."""


def answers(traffic: Traffic, gone: Collection[str] = ()) -> dict[str, str]:
    """Line asked -> line answered. `gone`: regions that were in the group before; they get no new requests while any
    other region has a share."""
    group = traffic.group
    found: dict[str, str] = {}
    for line, row in ((group, traffic.read), (group + WRITES, traffic.write)):
        whole = percents(row)
        for region, share in row:
            drained = region in traffic.drained and not share
            found[f"{line}/{region}"] = f"up drain {whole[region]}%" if drained else f"up ready {whole[region]}%"
    for region in traffic.regions:
        found[region] = found[f"{group}/{region}"]
        found[f"{group}{FALLBACK}/{region}"] = f"up ready {_fallback_percent(traffic, region)}%"
    if any(share for _, share in traffic.read):
        for region in set(gone) - set(traffic.regions):
            lines = (region, f"{group}/{region}", f"{group}{WRITES}/{region}", f"{group}{FALLBACK}/{region}")
            found |= dict.fromkeys(lines, "up drain 0%")
    return found


def _fallback_percent(traffic: Traffic, region: str) -> int:
    if region not in traffic.fallback:
        return 0
    return 100 if region == traffic.fallback[0] else FALLBACK_NEXT_PERCENT


def percents(row: Row) -> dict[str, int]:
    """Whole percentages that stand to each other as the shares do, as nearly as whole numbers can.

    HAProxy takes no fractions. A share above 0 is at least 1. Of two ways to round, the one that moves the shares less:
    each by itself (three equal shares stay equal), or so that they add up to 100 (many small ones do not all shrink).
    """
    total = sum(share for _, share in row)
    if total <= 0:
        return dict.fromkeys((region for region, _ in row), 0)
    wanted = {region: 100 * share / total for region, share in row}
    single = {region: _at_least_one(points, int(points + 0.5)) for region, points in wanted.items()}
    down = {region: int(points) for region, points in wanted.items()}
    most = sorted(wanted, key=lambda region: (down[region] - wanted[region], region))[: 100 - sum(down.values())]
    summed = {region: _at_least_one(points, down[region] + (region in most)) for region, points in wanted.items()}
    return min((single, summed), key=lambda rounded: _distance(wanted, rounded))


def _at_least_one(points: float, rounded: int) -> int:
    return max(1, rounded) if points > 0 else 0


def _distance(wanted: dict[str, float], rounded: dict[str, int]) -> float:
    """The most by which a share is not what it should be, in points; rounded to let equal ones tie."""
    total = sum(rounded.values())
    return round(max(abs(100 * rounded[region] / total - points) for region, points in wanted.items()), 9)
