"""Do the regions reach each other, both ways? Votes on a region, and later its data, go over these links."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from primacy.v1.status_service_pb2 import GetStatusResponse, Sight

from primacy_cli.checkup.checks import Check, fail, warn, well
from primacy_cli.words import plural, span

STALE_INTERVALS = 10
STALE_NS_MIN = 10_000_000_000
"""A look is stale when it is older than so many report intervals, and than this."""


def links(status: GetStatusResponse) -> Iterator[Check]:
    """One check for all pairs that are well, and one for each that is not."""
    heard = [region.name for region in status.regions if any(agent.connected for agent in region.agents)]
    if len(heard) < 2:
        yield warn(
            "links", f"{plural(len(heard), 'region')} can be heard: there is no link to look at", "primacy status"
        )
        return
    stale_ns = max(STALE_NS_MIN, STALE_INTERVALS * status.policy.report_interval.ToNanoseconds())
    both, slowest_ns = 0, 0
    for one, other in combinations(heard, 2):
        there, back = (_looks(status.sights, *pair, stale_ns) for pair in ((one, other), (other, one)))
        blind = [text for text, looks in ((f"{one} at {other}", there), (f"{other} at {one}", back)) if not looks]
        cut = [text for text, looks in ((f"{one} to {other}", there), (f"{other} to {one}", back)) if _is_cut(looks)]
        if cut:
            yield fail(
                "links",
                f"agents do not get through from {' and from '.join(cut)}",
                "open the way to the agents' ports (`primacy regions show REGION` names the addresses)",
            )
        elif blind:
            yield warn("links", f"no agent looked from {' nor from '.join(blind)} lately", "the same again in a moment")
        else:
            both += 1
            slowest_ns = max([slowest_ns, *(look.rtt.ToNanoseconds() for look in (*there, *back) if look.reachable)])
    if both:
        yield well("links", f"{plural(both, 'pair')} of regions get through both ways, within {span(slowest_ns)}")
    yield from _endpoints(status, heard, stale_ns)


def _looks(sights: Iterable[Sight], observer: str, target: str, stale_ns: int) -> list[Sight]:
    """Fresh looks of a region's agents at another region's agents."""
    return [
        sight
        for sight in sights
        if sight.agent
        and sight.region == target
        and sight.observer.partition("/")[0] == observer
        and sight.age.ToNanoseconds() <= stale_ns
    ]


def _is_cut(looks: list[Sight]) -> bool:
    return bool(looks) and not any(look.reachable for look in looks)


def _endpoints(status: GetStatusResponse, heard: list[str], stale_ns: int) -> Iterator[Check]:
    """Is the way in that users take reached from other regions?"""
    reached = 0
    for region in status.regions:
        if region.name not in heard:
            continue
        if not region.endpoint:
            yield warn(
                "endpoint",
                f"{region.name} has no endpoint: nobody outside sees whether its users get in",
                f"primacy regions update {region.name} --endpoint HOST:PORT",
            )
            continue
        looks = [
            sight
            for sight in status.sights
            if not sight.agent and sight.region == region.name and sight.age.ToNanoseconds() <= stale_ns
        ]
        if _is_cut(looks):
            yield fail(
                "endpoint",
                f"nobody reaches {region.name} at {region.endpoint}",
                f"primacy regions show {region.name}",
            )
        elif looks:
            reached += 1
    if reached:
        yield well("endpoint", f"{plural(reached, 'region')} can be reached at the way in that users take")
