"""`primacy metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from primacy_cli.session import Session, with_session
from primacy_cli.spans import Span

if TYPE_CHECKING:
    from primacy.v1 import status_service_pb2 as pb
    from primacy.v1.monitoring_pb2 import MetricInfo

    from primacy_cli.tables import Renderable

NOW_S_MAX = 15
"""What was measured longer ago is not how things are now. Distributions come once in ten seconds."""
AGGREGATIONS = {"average": 1, "minimum": 2, "maximum": 3, "sum": 4, "last": 5, "count": 6, "quantile": 7}
"""Word -> MetricAggregation."""


@click.command("metrics")
@click.argument("series", default="")
@click.option("--region", "regions", multiple=True, metavar="REGION", help="Only this region; may be repeated.")
@click.option("--to", "target", default="", metavar="REGION", help="Only this region at the other end.")
@click.option("--global", "together", is_flag=True, help="All regions as one.")
@click.option("--range", "length", type=Span(), default="15m", show_default=True, help="How far back.")
@click.option("--step", type=Span(), help="Length of a step. Default: some 200 of them.")
@click.option("--aggregation", type=click.Choice(list(AGGREGATIONS)), help="How the values of a step become one.")
@click.option("--quantile", type=click.FloatRange(0, 1), help="Of a distribution.  [default: 0.99]")
@with_session
def command(
    session: Session,
    series: str,
    regions: tuple[str, ...],
    target: str,
    together: bool,
    length: float,
    step: float | None,
    aggregation: str | None,
    quantile: float | None,
) -> None:
    """Show what was measured of one series, or which series there are.

    \b
    Examples:
        primacy metrics
        primacy metrics request_rate --range 1h
        primacy metrics latency_seconds --global --quantile 0.999
        primacy metrics rtt_seconds --region us-east --to eu-west -o json
    """
    from primacy.v1.status_service_pb2 import ListMetricsRequest
    from primacy.v1.status_service_pb2_grpc import StatusServiceStub

    stub = StatusServiceStub(session.channel)
    if not series:
        listed = session.ask(stub.ListMetrics, ListMetricsRequest(group=session.group))
        session.show(listed, lambda: _listed(listed))
        return
    wanted = _request(session.group, series, regions, target, together, aggregation)
    wanted.range.FromNanoseconds(round(length * 1e9))
    if step is not None:
        wanted.step.FromNanoseconds(round(step * 1e9))
    if quantile is not None:
        wanted.quantile = quantile
    found = session.ask(stub.QueryMetrics, wanted)
    session.show(found, lambda: _shown(found, wanted))


def _request(
    group: str, series: str, regions: tuple[str, ...], target: str, together: bool, aggregation: str | None
) -> pb.QueryMetricsRequest:
    from primacy.v1.monitoring_pb2 import MetricAggregation
    from primacy.v1.status_service_pb2 import QueryMetricsRequest

    made = QueryMetricsRequest(group=group, series=series, regions=regions, target_region=target)
    setattr(made, "global", together)  # A word of Python's.
    if aggregation is not None:
        made.aggregation = MetricAggregation.ValueType(AGGREGATIONS[aggregation])
    return made


def _listed(response: pb.ListMetricsResponse) -> Renderable:
    from primacy_cli.tables import stack, table
    from primacy_cli.words import plural

    rows = [
        (
            metric.name,
            metric.unit,
            "distribution" if metric.distribution else "",
            plural(len(metric.regions), "region") if metric.regions else "-",
            metric.description,
        )
        for metric in response.metrics
    ]
    lost = f"{plural(response.dropped, 'value')} left out: there are too many series." if response.dropped else None
    return stack(table(("SERIES", "UNIT", "KIND", "HEARD OF", "WHAT IT SAYS"), rows), lost)


def _shown(response: pb.QueryMetricsResponse, wanted: pb.QueryMetricsRequest) -> Renderable:
    from primacy_cli.sparks import figure, spark
    from primacy_cli.tables import facts, stack, table
    from primacy_cli.words import length

    metric = response.metric
    unheard = _unheard(response, wanted)
    if not any(line.points for line in response.series):
        return stack(f"Nothing was measured of {metric.name} in the last {length(wanted.range)}.", unheard)
    paired = any(line.target_region for line in response.series)
    step_s = max(1, response.step.ToNanoseconds() // 10**9)
    last = response.end_time.seconds or max(line.points[-1].time.seconds for line in response.series if line.points)
    first = last - wanted.range.ToNanoseconds() // 10**9
    rows = []
    for line in response.series:
        values = [point.value for point in line.points]
        if not values:
            continue
        is_now = last - line.points[-1].time.seconds <= NOW_S_MAX
        rows.append(
            (
                line.region or "all",
                *((line.target_region or "all",) if paired else ()),
                figure(values[-1], metric.unit) if is_now else "-",
                figure(min(values), metric.unit),
                figure(max(values), metric.unit),
                spark([(point.time.seconds, point.value) for point in line.points], first, last, step_s),
            )
        )
    heads = ("REGION", *(("TO",) if paired else ()), "NOW", "LOWEST", "HIGHEST", f"LAST {length(wanted.range).upper()}")
    return stack(
        facts([("series", metric.name), ("what it says", _says(metric, wanted)), ("step", length(response.step))]),
        table(heads, rows, right=("NOW", "LOWEST", "HIGHEST")),
        unheard,
    )


def _unheard(response: pb.QueryMetricsResponse, wanted: pb.QueryMetricsRequest) -> str | None:
    """Says which of the regions that were asked for nobody has heard of: a name may be mistyped."""
    known = {"", *response.metric.regions}
    known |= {end for line in response.series if line.points for end in (line.region, line.target_region)}
    unheard = sorted({*wanted.regions, wanted.target_region} - known)
    heard = ", ".join(response.metric.regions) or "no region"
    return f"It is heard of {heard}, not of {', '.join(unheard)}." if unheard else None


def _says(metric: MetricInfo, wanted: pb.QueryMetricsRequest) -> str:
    from primacy_cli.sparks import percent

    if metric.distribution and wanted.aggregation in (0, AGGREGATIONS["quantile"]):
        quantile = wanted.quantile if wanted.HasField("quantile") else 0.99
        return f"{metric.description} Below this lie {percent(quantile)} of them."
    return str(metric.description)
