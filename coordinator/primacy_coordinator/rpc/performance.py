"""GetPerformance: how the group and its regions did, beside an earlier window."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_wire.instant import SECOND_NS

from primacy_coordinator.core.monitor.budgets import SloFigure
from primacy_coordinator.core.monitor.monitor import PerformanceTable
from primacy_coordinator.core.monitor.performance import FailoverFigures, Performance
from primacy_coordinator.core.monitor.tiers import HOUR_S
from primacy_coordinator.rpc.calls import Calls
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.lengths import render_length

WINDOW_S_DEFAULT = HOUR_S
WINDOW_S_MIN = 60
WINDOW_S_MAX = 31 * 24 * HOUR_S
LENGTH_S_MAX = 3e9


async def get_performance(calls: Calls, request: pb.GetPerformanceRequest) -> pb.GetPerformanceResponse:
    watched = calls.watched(request.group)
    window_s, before_s = _parse(request)
    monitor = watched.monitor
    inputs = monitor.performance_input(window_s), monitor.performance_input(window_s, before_s)
    now, before = await calls.monitoring.apart(lambda: (inputs[0].table(), inputs[1].table()))
    return pb.GetPerformanceResponse(
        group=watched.group,
        regions=_regions(now, before),
        round_trips=[
            monitoring_pb2.RoundTrip(region=region, target_region=target, rtt=_length(seconds))
            for region, target, seconds in now.round_trips
        ],
        failovers=_render_failovers(now.failovers),
        failovers_before=_render_failovers(before.failovers),
        slos=[_render_slo(figure) for figure in monitor.slos],
        window=render_length(window_s * SECOND_NS),
        # A word of Python's.
        **{"global": monitoring_pb2.RegionPerformance(now=_render(now.whole), before=_render(before.whole))},
    )


def _parse(request: pb.GetPerformanceRequest) -> tuple[int, int]:
    fields = Fields()
    window_s = WINDOW_S_DEFAULT
    if request.HasField("window"):
        window_s = fields.length("window", request.window) // SECOND_NS
        if not WINDOW_S_MIN <= window_s <= WINDOW_S_MAX:
            fields.add("window", "OUT_OF_RANGE", "must be from 1 min to 31 days")
    before_s = window_s
    if request.HasField("compare_before"):
        before_s = fields.length("compareBefore", request.compare_before) // SECOND_NS
        if not 1 <= before_s <= WINDOW_S_MAX:
            fields.add("compareBefore", "OUT_OF_RANGE", "must be above 0 and at most 31 days")
    fields.check()
    return window_s, before_s


def _regions(now: PerformanceTable, before: PerformanceTable) -> list[monitoring_pb2.RegionPerformance]:
    earlier = dict(before.regions)
    return [
        monitoring_pb2.RegionPerformance(region=region, now=_render(found), before=_render(earlier.get(region)))
        for region, found in now.regions
    ]


def _render(found: Performance | None) -> monitoring_pb2.Performance:
    message = monitoring_pb2.Performance()
    if found is None:
        return message
    for name, value in (
        ("availability", found.availability),
        ("error_rate", found.error_rate),
        ("throughput", found.throughput),
        ("saturation", found.saturation),
        ("saturation_max", found.saturation_max),
    ):
        if value is not None:
            setattr(message, name, value)
    if found.latencies_s is not None:
        fields = (message.latency_p50, message.latency_p90, message.latency_p99, message.latency_p999)
        for field, seconds in zip(fields, found.latencies_s, strict=True):
            field.CopyFrom(_length(seconds))
    if found.lag_max_s is not None:
        message.lag_max.CopyFrom(_length(found.lag_max_s))
    return message


def _render_failovers(figures: FailoverFigures) -> monitoring_pb2.FailoverPerformance:
    message = monitoring_pb2.FailoverPerformance(failovers=figures.failovers, switchovers=figures.switchovers)
    if figures.longest_ns is not None:
        message.longest.CopyFrom(render_length(figures.longest_ns))
    if figures.median_ns is not None:
        message.median.CopyFrom(render_length(figures.median_ns))
    if figures.active_share is not None:
        message.active_share = figures.active_share
    return message


def _render_slo(figure: SloFigure) -> monitoring_pb2.SloStatus:
    message = monitoring_pb2.SloStatus(
        name=figure.slo.name,
        region=figure.region,
        objective=figure.slo.objective,
        window=render_length(figure.slo.window_ns),
        measured=render_length(figure.measured_s * SECOND_NS),
    )
    if figure.achieved is not None:
        message.achieved = figure.achieved
    if figure.budget_left is not None:
        message.budget_left = figure.budget_left
    for burn in figure.burns:
        rate = message.burn_rates.add(window=render_length(burn.window_s * SECOND_NS))
        if burn.rate is not None:
            rate.rate = burn.rate
    return message


def _length(seconds: float) -> Duration:
    return render_length(round(min(seconds, LENGTH_S_MAX) * SECOND_NS))
