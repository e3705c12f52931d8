"""What `primacy metrics` and `primacy perf` ask for, and what people see of the answers."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy_cli.sparks import BARS, figure, percent, spark
from primacy_cli.words import size, span

from tests.unit.cli.calls import Run, info


def line(region: str, *values: float, target: str = "") -> monitoring_pb2.MetricSeries:
    made = monitoring_pb2.MetricSeries(region=region, target_region=target)
    for at, value in enumerate(values):
        made.points.add(value=value).time.seconds = 1000 + 10 * at
    return made


def test_a_series_is_a_line_for_each_region() -> None:
    with Run("metrics", "request_rate", "--range", "1m", "--region", "eu", "--region", "us") as running:
        request = running.answer(
            "StatusService/QueryMetrics",
            pb.QueryMetricsResponse(
                metric=monitoring_pb2.MetricInfo(name="request_rate", unit="per second", description="Requests."),
                step=Duration(seconds=10),
                series=[line("eu", 1, 2, 3), line("us", 500, 500, 400)],
            ),
        )
        result = running.result()
    assert list(request.regions) == ["eu", "us"]
    assert request.range.seconds == 60
    assert not request.HasField("step") and not request.HasField("quantile") and not request.aggregation
    eu, us = (row.split() for row in result.stdout.splitlines()[-2:])
    assert eu[:4] == ["eu", "3/s", "1/s", "3/s"]
    assert us[:4] == ["us", "400/s", "400/s", "500/s"]


def test_everything_can_be_asked_for() -> None:
    words = "metrics rtt_seconds --to us --global --range 2h --step 60s --aggregation maximum --quantile 0.5 -o json"
    with Run(*words.split()) as running:
        request = running.answer("StatusService/QueryMetrics", pb.QueryMetricsResponse(group="default"))
        result = running.result()
    assert request.target_region == "us"
    assert getattr(request, "global")
    assert (request.range.seconds, request.step.seconds, request.quantile) == (7200, 60, 0.5)
    assert request.aggregation == monitoring_pb2.METRIC_AGGREGATION_MAXIMUM
    assert '"group": "default"' in result.stdout


def test_nothing_measured_is_said() -> None:
    with Run("metrics", "latency_seconds") as running:
        running.answer(
            "StatusService/QueryMetrics",
            pb.QueryMetricsResponse(metric=monitoring_pb2.MetricInfo(name="latency_seconds")),
        )
        assert running.result().stdout == "Nothing was measured of latency_seconds in the last 15 min.\n"


def test_what_is_over_is_not_how_things_are_now() -> None:
    """A region that died a minute ago has no figure of now, also when it was the only one."""
    response = pb.QueryMetricsResponse(
        metric=monitoring_pb2.MetricInfo(name="request_rate", unit="per second", regions=["eu", "us"]),
        step=Duration(seconds=10),
        series=[line("eu", 5, 6), line("us", 1, 2, 3, 4, 5, 6, 7)],
    )
    response.end_time.seconds = 1000 + 10 * 6
    with Run("metrics", "request_rate", "--range", "1m") as running:
        running.answer("StatusService/QueryMetrics", response)
        eu, us = (row.split() for row in running.result().stdout.splitlines()[-2:])
    assert eu[:4] == ["eu", "-", "5/s", "6/s"]
    assert us[:4] == ["us", "7/s", "1/s", "7/s"]
    del response.series[1]
    with Run("metrics", "request_rate", "--range", "1m") as running:
        running.answer("StatusService/QueryMetrics", response)
        eu = running.result().stdout.splitlines()[-1].split()
    assert eu[:4] == ["eu", "-", "5/s", "6/s"]


def test_a_region_that_nobody_heard_of_is_told() -> None:
    metric = monitoring_pb2.MetricInfo(name="request_rate", unit="per second", regions=["eu", "us"])
    for series, wanted in (([], "It is heard of eu, us, not of mars."), ([line("eu", 1)], "not of mars.")):
        with Run("metrics", "request_rate", "--region", "eu", "--region", "mars") as running:
            running.answer("StatusService/QueryMetrics", pb.QueryMetricsResponse(metric=metric, series=series))
            assert running.result().stdout.rstrip().endswith(wanted)


def test_a_name_that_is_none_leads_to_the_names() -> None:
    with Run("metrics", "request_rates") as running:
        running.fail("StatusService/QueryMetrics", grpc.StatusCode.NOT_FOUND, "none", [info("METRIC_NOT_FOUND")])
        assert "next: primacy metrics\n" in running.result().output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.00085, "850 µs"),
        (0.0009996, "1 ms"),
        (0.9996, "1 s"),
        (59.96, "1 min"),
        (200, "3 min 20 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 min"),
        (3 * 86_400, "3 d"),
    ],
)
def test_lengths_of_time_are_short_and_never_in_powers_of_ten(seconds: float, text: str) -> None:
    assert span(round(seconds * 1e9)) == text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 bytes"), (999_700, "1 MB"), (999_400, "999 kB"), (5 * 10**15, "5,000 TB")]
)
def test_sizes_are_short_and_never_in_powers_of_ten(count: int, text: str) -> None:
    assert size(count) == text


def test_series_are_listed_and_what_was_left_out_is_told() -> None:
    with Run("metrics") as running:
        running.answer(
            "StatusService/ListMetrics",
            pb.ListMetricsResponse(
                metrics=[
                    monitoring_pb2.MetricInfo(name="queue_depth", distribution=True, regions=["eu"]),
                    monitoring_pb2.MetricInfo(name="weight", unit="share"),
                ],
                dropped=7,
            ),
        )
        out = running.result().stdout
    assert "queue_depth" in out and "distribution" in out and "1 region" in out
    assert "7 values left out" in out


def performance(**figures: float) -> monitoring_pb2.Performance:
    made = monitoring_pb2.Performance(latency_p99=Duration(nanos=12_000_000))
    for name, value in figures.items():
        setattr(made, name, value)
    return made


def test_each_figure_stands_beside_what_it_was() -> None:
    response = pb.GetPerformanceResponse(
        window=Duration(seconds=3600),
        regions=[
            monitoring_pb2.RegionPerformance(
                region="eu",
                now=performance(availability=0.9995, error_rate=0.02, throughput=100),
                before=performance(availability=1, error_rate=0.01, throughput=100),
            )
        ],
        failovers=monitoring_pb2.FailoverPerformance(failovers=1, switchovers=2, longest=Duration(seconds=4)),
        round_trips=[monitoring_pb2.RoundTrip(region="eu", target_region="us", rtt=Duration(nanos=80_000_000))],
        slos=[
            monitoring_pb2.SloStatus(
                name="reads-succeed",
                objective=0.999,
                achieved=0.98,
                budget_left=-0.5,
                burn_rates=[
                    monitoring_pb2.BurnRate(window=Duration(seconds=300), rate=14.4),
                    monitoring_pb2.BurnRate(window=Duration(seconds=1800)),
                ],
            )
        ],
    )
    with Run("perf", "--window", "1h", "--before", "7d") as running:
        request = running.answer("StatusService/GetPerformance", response)
        out = running.result().stdout
    assert (request.window.seconds, request.compare_before.seconds) == (3600, 7 * 86_400)
    eu = next(row for row in out.splitlines() if row.startswith("eu "))
    assert "99.95 % ↓100 %" in eu
    assert "2 % ↑1 %" in eu
    assert "100/s" in eu and "12 ms" in eu
    assert "4 s" in out and "80 ms" in out
    (slo,) = (row for row in out.splitlines() if row.startswith("reads-succeed"))
    assert "99.9 %" in slo and "98 %" in slo and "-50 %" in slo and "14.4 in 5 min" in slo
    assert "30 min" not in slo


def test_no_objective_is_said() -> None:
    with Run("perf") as running:
        request = running.answer("StatusService/GetPerformance", pb.GetPerformanceResponse())
        assert "no objectives" in running.result().stdout
    assert not request.HasField("compare_before")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "100 %"),
        (0, "0 %"),
        (0.4, "40 %"),
        (0.9995, "99.95 %"),
        (0.99999, "99.999 %"),
        (0.0002, "0.02 %"),
        (-0.5, "-50 %"),
    ],
)
def test_shares_show_what_is_lacking(value: float, text: str) -> None:
    assert percent(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(0.012, "seconds", "12 ms"), (1234.0, "per second", "1,234/s"), (2e6, "bytes", "2 MB"), (3.0, "count", "3")],
)
def test_figures_have_their_units(value: float, unit: str, text: str) -> None:
    assert figure(value, unit) == text


def test_a_gap_is_a_blank_in_the_line() -> None:
    assert spark([(10, 0.0), (20, 8.0), (40, 4.0)], 0, 40, 10) == f"{BARS[0]}{BARS[7]} {BARS[4]}"
    assert spark([(10, 5.0), (20, 5.0)], 0, 20, 10) == BARS[3] * 2
    assert spark([(10, 0.0)], 0, 10, 10) == BARS[0]
    assert len(spark([(at, 1.0) for at in range(1, 901)], 0, 900, 1)) == 60
