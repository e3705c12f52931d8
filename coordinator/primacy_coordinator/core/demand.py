"""How many requests come from the clients of each region, told from what little is measured.

Nobody measures that as such. In this order it is taken from:

1. the policy's `clientTraffic`, shares of all requests;
2. the reads that agents routed, by client region, where those are at least `ROUTED_PART` of all requests (a proxy that
   routes by itself counts nothing there). A region that serves and whose agents are silent has the clients that it had;
   those of one that does not serve enter elsewhere, and are counted there;
3. the requests that each region served. Whose they were follows from the rows in force: what a region got is divided
   among the client regions by what each was expected to send there. Repeated, that is the most likely demand for counts
   that are known by their sums alone (Y. Vardi, "Network Tomography", 1996; the step is that of expectation and
   maximisation). Only what rows tell apart can be told apart: where all are alike, proportions stay as they were.

How many requests there are in all is what the regions served or what was routed, whichever is more: each of them misses
some, and neither counts any twice. But what is routed is counted, and what is served is measured: a little more of that
is noise.

Weakness: the writes of an active region count as demand that could go elsewhere. What cannot go stays, so the region's
load stays above its limit, and ever more of its reads are sent away until it fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import RouteCount

ROUTED_PART = 0.5
UNROUTED = 1.25
"""So many times what was routed must be served for some of it not to be routed by agents at all."""
LEAST_PART = 0.001
"""Of the mean: the least that a client region is taken to need, for what is nothing never grows by proportions."""
READ = 1

Rates = Mapping[str, float]
"""Region -> requests per second."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What an agent has routed in its life, by its newest report."""

    agent: str
    incarnation: str
    at_ns: int
    """When the report came."""
    routed: tuple[RouteCount, ...]


@dataclass(frozen=True, slots=True)
class RoutedLife:
    """What one life of an agent routes."""

    incarnation: str
    at_ns: int
    counts: Mapping[str, int]
    """Reads, by client region."""
    rates: Rates
    """A second, by client region."""


def routed_since(before: RoutedLife | None, now: Counted, least_ns: int = 1) -> RoutedLife:
    """What an agent routes, from its counts at two reports that are at least so far apart: over less than that (news
    waits for no report interval) a few requests are any rate. Nothing after the first report of a life."""
    known = before if before is not None and before.incarnation == now.incarnation else None
    if known is not None and now.at_ns - known.at_ns < least_ns:
        return known
    counts: dict[str, int] = {}
    for count in now.routed:
        if count.traffic_class == READ:
            counts[count.client_region] = counts.get(count.client_region, 0) + count.count
    if known is None:
        return RoutedLife(now.incarnation, now.at_ns, counts, {})
    seconds = (now.at_ns - known.at_ns) / SECOND_NS
    rates = {client: max(0, total - known.counts.get(client, 0)) / seconds for client, total in counts.items()}
    return RoutedLife(now.incarnation, now.at_ns, counts, rates)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of the requests of a group."""

    shares: Rates
    """The policy's, of all requests; empty: it names none."""
    routed: Rates
    """Reads that agents routed, by client region."""
    served: Rates
    """Requests, by the region that served them, of the regions that measure it."""
    unmeasured: int
    """How many regions serve and do not measure it: they count like the mean of those that do."""
    serving: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Estimate:
    demand: Rates
    """For every client region."""
    direct: bool
    """Counted where it comes from, so that it does not depend on where it was sent."""


def estimate(
    names: Sequence[str], measured: Measured, before: Rates, rows: Mapping[str, Mapping[str, float]]
) -> Estimate | None:
    """Everybody's demand; None: nothing was measured. `before`: the demand so far; `rows`: those in force."""
    served = measured.served
    mean = sum(served.values()) / len(served) if served else 0.0
    all_served = sum(served.values()) + mean * measured.unmeasured
    all_routed = sum(measured.routed.get(name, 0.0) for name in names)
    if all_routed <= 0 and not served:
        return None
    silent = {name: before[name] for name in measured.serving - measured.routed.keys() if name in before}
    total = max(all_routed, all_served)
    all_shares = sum(measured.shares.get(name, 0.0) for name in names)
    if all_shares > 0:
        return Estimate({name: total * (measured.shares.get(name, 0.0) / all_shares) for name in names}, False)
    if all_routed > 0 and all_routed >= ROUTED_PART * all_served:
        routed = {name: silent.get(name, measured.routed.get(name, 0.0)) for name in names}
        scale = all_served / sum(routed.values())
        scale = scale if scale > UNROUTED else 1.0
        return Estimate({name: rate if name in silent else rate * scale for name, rate in routed.items()}, True)
    if any(name not in before for name in names):
        return Estimate({name: served.get(name, mean) for name in names}, False)
    return Estimate(_attributed({name: before[name] for name in names}, rows, served), False)


def _attributed(before: Rates, rows: Mapping[str, Mapping[str, float]], served: Rates) -> dict[str, float]:
    found = dict.fromkeys(before, 0.0)
    for region in before:
        coming = {client: demand * rows.get(client, {}).get(region, 0.0) for client, demand in before.items()}
        expected = sum(coming.values())
        if region not in served:
            part = 1.0
        elif expected > 0:
            part = served[region] / expected
        else:
            # Nobody was sent there: its own clients ask it directly.
            found[region] += served[region]
            continue
        for client, demand in coming.items():
            found[client] += demand * part
    least = LEAST_PART * sum(found.values()) / max(1, len(found))
    return {client: max(demand, least) for client, demand in found.items()}
