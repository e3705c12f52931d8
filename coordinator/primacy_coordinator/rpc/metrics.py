"""What was measured, for callers: ListMetrics and QueryMetrics."""

from __future__ import annotations

import time
from difflib import get_close_matches

from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_wire.errors import NotFound
from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.model import Aggregation
from primacy_coordinator.core.monitor.monitor import Monitor
from primacy_coordinator.core.monitor.queries import STEPS_DEFAULT, Pair, Query
from primacy_coordinator.core.monitor.series import BUILT_IN, kind_of
from primacy_coordinator.core.monitor.tiers import HOUR_S
from primacy_coordinator.rpc.calls import Calls
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.lengths import render_length

RANGE_S_DEFAULT = 15 * 60
RANGE_S_MAX = 31 * 24 * HOUR_S
STEPS_MAX = 11_000
REGIONS_MAX = 1_000
STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 12 * HOUR_S)
"""Steps that are chosen where none is given: people read them well."""
OF_DISTRIBUTIONS = (Aggregation.COUNT, Aggregation.QUANTILE)


async def list_metrics(calls: Calls, request: pb.ListMetricsRequest) -> pb.ListMetricsResponse:
    watched = calls.watched(request.group)
    names = await calls.monitoring.names(watched.group)
    return pb.ListMetricsResponse(
        group=watched.group,
        metrics=[render_info(watched.monitor, name) for name in names],
        dropped=watched.monitor.dropped,
    )


async def query_metrics(calls: Calls, request: pb.QueryMetricsRequest) -> pb.QueryMetricsResponse:
    watched = calls.watched(request.group)
    query = _parse(request, watched.monitor)
    if query.series not in BUILT_IN and not watched.monitor.regions(query.series):
        await _must_know(calls, watched.group, query.series)
    answer, step = await calls.monitoring.query(watched.group, query)
    response = pb.QueryMetricsResponse(
        group=group_name(request.group),
        metric=render_info(watched.monitor, query.series),
        step=render_length(step * SECOND_NS),
        series=[_render_line(pair, points) for pair, points in answer],
    )
    response.end_time.seconds = query.last
    return response


async def _must_know(calls: Calls, group: str, series: str) -> None:
    """Raises NotFound with names that are like it."""
    names = await calls.monitoring.names(group)
    if series not in names:
        close = get_close_matches(series, names, 3)
        hint = f"did you mean {', '.join(close)}? " if close else ""
        raise NotFound("metric", series, f"{hint}ListMetrics shows those that exist")


def _parse(request: pb.QueryMetricsRequest, monitor: Monitor) -> Query:
    fields = Fields()
    series = fields.text("series", request.series)
    if not series:
        fields.add("series", "REQUIRED", "must name a series; ListMetrics shows those that exist")
    regions = tuple(sorted(set(request.regions)))
    if len(regions) > REGIONS_MAX:
        fields.add("regions", "TOO_MANY", f"must be at most {REGIONS_MAX} regions")
    for at, region in enumerate(regions[:REGIONS_MAX]):
        fields.name(f"regions[{at}]", region)
    target = fields.optional_name("targetRegion", request.target_region)
    number = fields.known("aggregation", request.aggregation, Aggregation)
    kind = kind_of(series)
    if number in OF_DISTRIBUTIONS and not kind.distribution and series:
        advice = f"{series} is no distribution: ask for AVERAGE, MINIMUM, MAXIMUM, SUM or LAST"
        fields.add("aggregation", "NO_DISTRIBUTION", advice)
    quantile = 0.99
    if request.HasField("quantile"):
        quantile = fields.number("quantile", request.quantile, 0.0, 1.0)
    length = RANGE_S_DEFAULT
    if request.HasField("range"):
        length = -(-fields.length("range", request.range) // SECOND_NS)
        if not 1 <= length <= RANGE_S_MAX:
            fields.add("range", "OUT_OF_RANGE", "must be above 0 and at most 31 days")
            length = RANGE_S_DEFAULT
    last = monitor.second + 1
    if request.HasField("end_time"):
        last = min(last, _end(fields, request))
    step = _step(length)
    if request.HasField("step"):
        step = -(-fields.length("step", request.step) // SECOND_NS)
        if step < 1 or fields.length("step", request.step) < SECOND_NS:
            fields.add("step", "OUT_OF_RANGE", "must be 1 s or more")
            step = 1
        elif length // step > STEPS_MAX:
            advice = f"must be {-(-length // STEPS_MAX)} s or more: a range has at most {STEPS_MAX:,} steps"
            fields.add("step", "TOO_SHORT", advice)
    fields.check()
    aggregation = Aggregation(number) if number else None
    together = bool(getattr(request, "global"))  # A word of Python's.
    return Query(series, last - length, last, step, regions, target, together, aggregation, quantile)


def _end(fields: Fields, request: pb.QueryMetricsRequest) -> int:
    """Second after the last one that is wanted."""
    seconds = request.end_time.seconds
    if not 0 < seconds < 1 << 40:
        fields.add("endTime", "OUT_OF_RANGE", "must be a time after 1970, e.g. 2030-01-31T12:00:00Z")
        return int(time.time())
    return int(seconds)


def _step(length: int) -> int:
    return next((step for step in STEPS_S if length / step <= STEPS_DEFAULT * 1.5), STEPS_S[-1])


def render_info(monitor: Monitor, name: str) -> monitoring_pb2.MetricInfo:
    kind = kind_of(name)
    return monitoring_pb2.MetricInfo(
        name=name,
        description=kind.description,
        unit=kind.unit,
        distribution=kind.distribution,
        regions=monitor.regions(name),
    )


def _render_line(pair: Pair, points: tuple[tuple[int, float], ...]) -> monitoring_pb2.MetricSeries:
    line = monitoring_pb2.MetricSeries(region=pair[0], target_region=pair[1])
    for end, value in points:
        line.points.add(value=value).time.seconds = end
    return line
