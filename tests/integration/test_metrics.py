"""What was measured, asked of a real coordinator: while it runs, after a kill, and with a file that cannot be used."""

from __future__ import annotations

import asyncio
import json
import math
import random
import sqlite3
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from primacy.v1 import monitoring_pb2
from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.channel import make_channel
from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS
from primacy_wire.log_messages import MetricsSnapshot, SeriesSketch
from primacy_wire.messages import Load, Report
from primacy_wire.rpc_errors import RpcFailure, from_rpc_error
from primacy_wire.sketch import SERIES_MAX, Sketch
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.coordinators import CoordinatorProcess, HandAgent, until

pytestmark = pytest.mark.integration

POLICY = """
leaseTtl: 2s
reportInterval: 0.25s
grace: 0.25s
firstWait: 0.25s
stableFor: 0s
slos:
  - name: reads-succeed
    indicator: SUCCESS
    objective: 0.99
    window: 1h
    perRegion: true
"""


class Measuring(HandAgent):
    """An agent that says how busy its service is."""

    load = Load(100.0, 0.02, 20_000_000, 0.5, 200.0, 3.0)
    versions = 0

    def report(self) -> Report:
        return replace(super().report(), load=self.load)

    async def measure(self, *series: SeriesSketch, dropped: int = 0) -> None:
        self.versions += 1
        key = f"{self.hello.region}/{self.hello.agent}"
        await self.send(
            MetricsSnapshot(
                self.hello.region,
                key,
                self.incarnation,
                self.versions,
                10 * SECOND_NS,
                read_now().wall_ns,
                series,
                dropped,
            )
        )


def sketched(name: str, values: list[float]) -> SeriesSketch:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    return sketch.to_series(name)


class Asking:
    """StatusService of a coordinator."""

    def __init__(self, address: str) -> None:
        self._channel = make_channel(address)
        self._stub: Any = StatusServiceStub(self._channel)

    async def query(self, series: str, **wanted: Any) -> pb.QueryMetricsResponse:
        found: pb.QueryMetricsResponse = await self._stub.QueryMetrics(
            pb.QueryMetricsRequest(series=series, **wanted), timeout=10
        )
        return found

    async def values(self, series: str, region: str = "", target: str = "", **wanted: Any) -> list[float]:
        """Of the one line."""
        try:
            found = await self.query(series, **wanted)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return []
            raise
        lines = [line for line in found.series if (line.region, line.target_region) == (region, target)]
        return [point.value for line in lines for point in line.points]

    async def ask(self, method: str, request: Any) -> Any:
        return await getattr(self._stub, method)(request, timeout=10)

    async def fails(self, method: str, request: Any) -> RpcFailure:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(method, request)
        return from_rpc_error(caught.value)

    async def close(self) -> None:
        await self._channel.close()


class Place:
    """A coordinator and two measuring agents."""

    def __init__(self, folder: Path) -> None:
        policy = folder / "policy.yaml"
        policy.write_text(POLICY)
        self.coordinator = CoordinatorProcess(folder / "state", "--policy", str(policy))
        self.file = folder / "state" / "metrics.db"

    async def __aenter__(self) -> Place:
        self.coordinator.start()
        await self._join()
        return self

    async def _join(self) -> None:
        self.asking = Asking(self.coordinator.grpc)
        self.east = Measuring(self.coordinator.grpc, "us-east")
        self.west = Measuring(self.coordinator.grpc, "eu-west")
        self.west.load = Load(300.0, 0.0, 20_000_000, 0.1, 1000.0, 3.0)
        await self.east.join()
        await self.west.join()

    async def _leave(self) -> None:
        await self.east.close()
        await self.west.close()
        await self.asking.close()

    async def killed_and_started(self, between: Callable[[], None] = lambda: None) -> None:
        self.coordinator.kill()
        await self._leave()
        between()
        self.coordinator.start()
        await self._join()

    async def __aexit__(self, *_: object) -> None:
        await self._leave()
        self.coordinator.close()

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        with urllib.request.urlopen(f"http://{self.coordinator.http}/metrics") as response:
            text = response.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def warnings(self) -> list[str]:
        with urllib.request.urlopen(f"http://{self.coordinator.http}/healthz") as response:
            found: list[str] = json.load(response)["warnings"]
        return found


async def test_what_agents_report_is_kept_second_by_second(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:
        asking = place.asking

        async def both() -> bool:
            newest: Any = {"range": Duration(seconds=30), "step": Duration(seconds=1)}
            return all(
                [len(await asking.values("request_rate", name, **newest)) > 3 for name in ("us-east", "eu-west")]
            )

        await until(both)
        found = await asking.query("request_rate", range=Duration(seconds=60), step=Duration(seconds=1))
        assert found.step.seconds == 1
        assert [line.region for line in found.series] == ["eu-west", "us-east"]
        for line in found.series:
            times = [point.time.seconds for point in line.points]
            assert times == sorted(set(times))
        whole: Any = {"global": True, "range": Duration(seconds=10), "step": Duration(seconds=10)}
        assert (await asking.values("request_rate", **whole))[-1] == pytest.approx(400)
        assert (await asking.values("error_rate", **whole))[-1] == pytest.approx(2 / 400)
        assert (await asking.values("utilisation", **whole))[-1] == pytest.approx((100 + 100) / 1200)

        listed = await asking.ask("ListMetrics", pb.ListMetricsRequest())
        rate = next(metric for metric in listed.metrics if metric.name == "request_rate")
        assert list(rate.regions) == ["eu-west", "us-east"]
        assert (rate.unit, rate.distribution) == ("per second", False)


async def test_quantiles_over_regions_come_from_merged_sketches(tmp_path: Path) -> None:
    draw = random.Random(1)
    fast = [draw.lognormvariate(-4, 0.5) for _ in range(3000)]
    slow = [draw.paretovariate(1.5) / 10 for _ in range(300)]
    exact = sorted(fast + slow)
    async with Place(tmp_path) as place:
        await place.east.measure(sketched("latency_seconds", fast), sketched("queue_depth", [3.0, 9.0]))
        await place.west.measure(sketched("latency_seconds", slow))
        wanted: Any = {"global": True, "range": Duration(seconds=600), "step": Duration(seconds=600)}

        async def merged() -> list[float]:
            counts = await place.asking.values(
                "latency_seconds", aggregation=monitoring_pb2.METRIC_AGGREGATION_COUNT, **wanted
            )
            return counts if sum(counts) == len(exact) else []

        await until(merged, 40)
        for quantile in (0.5, 0.9, 0.99, 0.999):
            values = await place.asking.values("latency_seconds", quantile=quantile, **wanted)
            if len(values) == 1:  # Else the step ended between the two.
                assert values[0] == pytest.approx(exact[math.floor(quantile * (len(exact) - 1))], rel=0.0101)
        mean = await place.asking.values("queue_depth", aggregation=monitoring_pb2.METRIC_AGGREGATION_AVERAGE, **wanted)
        assert mean == [6.0]


async def test_wrong_questions_are_refused_with_what_to_do(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:
        await until(lambda: place.asking.values("request_rate", "us-east"))
        fails = place.asking.fails
        missing = await fails("QueryMetrics", pb.QueryMetricsRequest(series="request_rat"))
        assert missing.code == "NOT_FOUND"
        assert "did you mean request_rate" in str(missing.message)
        for field, request in {
            "series": pb.QueryMetricsRequest(),
            "range": pb.QueryMetricsRequest(series="active", range=Duration(seconds=40 * 86_400)),
            "step": pb.QueryMetricsRequest(series="active", step=Duration(nanos=1)),
            "step ": pb.QueryMetricsRequest(series="active", range=Duration(seconds=86_400), step=Duration(seconds=1)),
            "regions[0]": pb.QueryMetricsRequest(series="active", regions=["No Name"]),
            "targetRegion": pb.QueryMetricsRequest(series="active", target_region="-"),
            "quantile": pb.QueryMetricsRequest(series="latency_seconds", quantile=math.nan),
            "aggregation": pb.QueryMetricsRequest(
                series="active", aggregation=monitoring_pb2.METRIC_AGGREGATION_QUANTILE
            ),
        }.items():
            failure = await fails("QueryMetrics", request)
            assert failure.code == "INVALID_ARGUMENT", field
            assert failure.fields[0].path == field.strip()
        for field, wrong in {
            "window": pb.GetPerformanceRequest(window=Duration(seconds=1)),
            "compareBefore": pb.GetPerformanceRequest(compare_before=Duration(seconds=90 * 86_400)),
        }.items():
            failure = await fails("GetPerformance", wrong)
            assert failure.fields[0].path == field


async def test_an_agent_that_invents_series_is_named_and_costs_others_nothing(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:
        await until(lambda: place.asking.values("request_rate", "us-east"))
        flood = [sketched(f"user_{number}", [1.0]) for number in range(SERIES_MAX)]
        await place.east.measure(*flood)

        async def taken() -> bool:
            listed = await place.asking.ask("ListMetrics", pb.ListMetricsRequest())
            return "user_0" in {metric.name for metric in listed.metrics}

        await until(taken, 30)
        await place.east.measure(*(replace(one, name=f"x{one.name}") for one in flood), dropped=50)
        await place.west.measure(sketched("queue_depth", [4.0]))

        async def dropped() -> bool:
            listed = await place.asking.ask("ListMetrics", pb.ListMetricsRequest())
            names = {metric.name for metric in listed.metrics}
            return listed.dropped >= 50 and "queue_depth" in names and "user_0" in names

        await until(dropped, 30)

        async def alerted() -> bool:
            found = await place.asking.ask("ListAlerts", pb.ListAlertsRequest())
            return any(one.rule == "cardinality-capped" and "us-east/one" in one.summary for one in found.alerts)

        await until(alerted)


async def test_performance_and_objectives(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:

        async def performance() -> Any:
            found = await place.asking.ask("GetPerformance", pb.GetPerformanceRequest(window=Duration(seconds=60)))
            judged = {slo.region for slo in found.slos if slo.HasField("achieved")}
            return found if judged == {"", "us-east", "eu-west"} else None

        async def tried() -> Any:
            try:
                return await performance()
            except grpc.aio.AioRpcError:
                return None

        found = await until(tried, 40)
        whole = getattr(found, "global").now
        assert whole.error_rate == pytest.approx(2 / 400, rel=0.2)
        assert whole.throughput == pytest.approx(400, rel=0.2)
        assert [region.region for region in found.regions] == ["eu-west", "us-east"]
        east = found.regions[1].now
        assert east.error_rate == pytest.approx(0.02)
        assert east.saturation_max == pytest.approx(0.5)
        slo = next(slo for slo in found.slos if slo.region == "us-east")
        assert slo.achieved == pytest.approx(0.98)
        # Before the first measurement all was good.
        burnt_s = slo.burn_rates[0].rate * 300 / 2.0
        assert slo.measured.seconds <= burnt_s <= slo.measured.seconds + 25
        assert slo.measured.seconds < 3600
        shown = await asyncio.to_thread(place.metrics)
        labels = {"group": "default", "slo": "reads-succeed", "region": "us-east"}
        assert shown["primacy_slo_achieved_ratio", tuple(sorted(labels.items()))] == pytest.approx(0.98)
        assert shown["primacy_slo_burn_rate", tuple(sorted({**labels, "window": "5m"}.items()))] == pytest.approx(
            slo.burn_rates[0].rate, abs=0.2
        )
        assert shown["primacy_monitoring_series", (("group", "default"),)] > 10
        assert slo.budget_left > 0.9


async def test_minutes_survive_a_kill_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:
        await place.east.measure(sketched("latency_seconds", [0.5] * 7))

        async def written() -> bool:
            with sqlite3.connect(f"file:{place.file}?mode=ro", uri=True) as file:
                return bool(file.execute("SELECT 1 FROM steps WHERE series = 'latency_seconds'").fetchall())

        await until(written, 90)
        await place.killed_and_started()
        wanted: Any = {"range": Duration(seconds=600), "step": Duration(seconds=60)}

        async def back() -> bool:
            counts = await place.asking.values(
                "latency_seconds", "us-east", aggregation=monitoring_pb2.METRIC_AGGREGATION_COUNT, **wanted
            )
            rates = await place.asking.values("request_rate", "us-east", **wanted)
            return sum(counts) == 7 and len(rates) >= 2

        await until(back)


async def test_a_file_that_cannot_be_used_is_a_warning_and_nothing_else(tmp_path: Path) -> None:
    async with Place(tmp_path) as place:

        def damage() -> None:
            for file in place.file.parent.glob("metrics.db*"):
                file.unlink()
            place.file.write_bytes(b"no database" * 1000)

        await place.killed_and_started(damage)
        await until(lambda: place.asking.values("request_rate", "us-east"))

        async def warned() -> bool:
            found = await asyncio.to_thread(place.warnings)
            return any(text.startswith("metrics: ") for text in found)

        await until(warned)
        assert place.file.read_bytes() == b"no database" * 1000
