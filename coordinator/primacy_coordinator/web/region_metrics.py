"""What regions report of themselves and of the ways between them, for `/metrics`. Not measured is left out, never 0."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from primacy_wire.instant import SECOND_NS
from prometheus_client.core import GaugeMetricFamily, Metric

from primacy_coordinator.core.views import GroupView, RegionView


def load_families(groups: Iterable[tuple[str, GroupView]]) -> Iterator[Metric]:
    """Figures of each region, merged over its agents."""
    where = ["group", "region"]
    rate = GaugeMetricFamily("primacy_region_requests_per_second", "Requests that it serves.", labels=where)
    errors = GaugeMetricFamily("primacy_region_error_ratio", "Share of its requests that fail, 0 to 1.", labels=where)
    latency = GaugeMetricFamily("primacy_region_latency_seconds", "Mean time of its requests.", labels=where)
    used = GaugeMetricFamily(
        "primacy_region_utilisation_ratio", "Share of its capacity in use; above 1 it is overloaded.", labels=where
    )
    capacity = GaugeMetricFamily(
        "primacy_region_capacity_requests_per_second", "What its instances that are heard can serve.", labels=where
    )
    in_flight = GaugeMetricFamily("primacy_region_requests_in_flight", "Requests being worked on.", labels=where)
    lag = GaugeMetricFamily(
        "primacy_region_data_lag_seconds", "How far the data behind its service is behind the active one.", labels=where
    )
    for name, view in groups:
        for region in view.regions:
            for family, value in zip(
                (rate, errors, latency, used, capacity, in_flight, lag), _figures(region), strict=True
            ):
                if value >= 0:
                    family.add_metric([name, region.record.name], value)
    yield from (rate, errors, latency, used, capacity, in_flight, lag)


def _figures(region: RegionView) -> tuple[float, ...]:
    """Negative: not measured."""
    load = region.load
    return (
        load.request_rate,
        load.error_rate,
        load.latency_ns / SECOND_NS,
        load.utilisation,
        load.capacity,
        load.in_flight,
        region.lag.age_ns / SECOND_NS,
    )


def way_families(groups: Iterable[tuple[str, GroupView]]) -> Iterator[Metric]:
    """The ways between regions, each seen by all agents at its beginning together."""
    where = ["group", "region", "target_region"]
    rtt = GaugeMetricFamily("primacy_region_rtt_seconds", "Round trip between two regions, mean.", labels=where)
    reached = GaugeMetricFamily(
        "primacy_region_reached_ratio", "Share of its agents' looks at the other region that it answers.", labels=where
    )
    for name, view in groups:
        ways: dict[tuple[str, str], list[tuple[bool, int]]] = {}
        for sight in view.sights:
            ways.setdefault((sight.observer_region, sight.target_region), []).append((sight.reachable, sight.rtt_ns))
        for way, looks in sorted(ways.items()):
            reached.add_metric([name, *way], sum(reachable for reachable, _ in looks) / len(looks))
            trips = [rtt_ns for reachable, rtt_ns in looks if reachable and rtt_ns >= 0]
            if trips:
                rtt.add_metric([name, *way], sum(trips) / len(trips) / SECOND_NS)
    yield from (rtt, reached)
