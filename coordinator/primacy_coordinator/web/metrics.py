"""What `/metrics` says, made from copies of the groups at the moment of asking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import RouteCount
from primacy_wire.route_counts import OTHER
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from primacy_coordinator.core.model import DrainState, RegionStatus, RoutingStrategy
from primacy_coordinator.core.views import GroupView
from primacy_coordinator.shell.latency import Latency
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.web.region_metrics import load_families, way_families

ROUTED_KINDS_MAX = 1000
"""Of one group: series beyond that are summed up under `other`."""
WRITE = 2
"""Number of `primacy.v1.TrafficClass`."""


@dataclass(frozen=True, slots=True)
class GroupSample:
    """One group as `/metrics` shows it. `view` is None when its store does not let it be read."""

    runner: Runner
    view: GroupView | None
    routed: tuple[RouteCount, ...] = ()
    """By all agents, and by the coordinator itself."""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """What belongs to the process and not to a group."""

    version: str
    stall_count: int
    stall_longest_ns: int
    journal_lost_count: int
    groups: tuple[GroupSample, ...]
    others: tuple[Metric, ...] = ()
    """Of what works beside the groups."""


class _Families(Collector):
    def __init__(self, sample: ProcessSample) -> None:
        self._sample = sample

    def collect(self) -> Iterator[Metric]:
        sample = self._sample
        info = GaugeMetricFamily("primacy_coordinator_info", "1; the labels say which build runs.", labels=["version"])
        info.add_metric([sample.version], 1)
        yield info
        yield CounterMetricFamily(
            "primacy_coordinator_stalls", "Times that the coordinator's own loop stood still.", value=sample.stall_count
        )
        yield GaugeMetricFamily(
            "primacy_coordinator_stall_longest_seconds",
            "The longest of them.",
            value=sample.stall_longest_ns / SECOND_NS,
        )
        yield CounterMetricFamily(
            "primacy_coordinator_journal_lost",
            "Journal events that could not be written.",
            value=sample.journal_lost_count,
        )
        yield from _runner_families(sample.groups)
        yield _routed_family(sample.groups)
        seen = [(group.runner.name, group.view) for group in sample.groups if group.view is not None]
        yield from _authority_families(seen)
        yield from _region_families(seen)
        yield from load_families(seen)
        yield from way_families(seen)
        yield from sample.others


def _gauge(name: str, text: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _runner_families(groups: Iterable[GroupSample]) -> Iterator[Metric]:
    up = _gauge("primacy_group_up", "Whether the group can be read, and its store takes writes.", ["group"])
    sessions = _gauge("primacy_group_sessions", "Agents with an open session.", ["group"])
    reports = CounterMetricFamily("primacy_group_messages", "Messages from agents.", labels=["group"])
    refusals = CounterMetricFamily("primacy_group_store_refusals", "Batches the store refused.", labels=["group"])
    persists = HistogramMetricFamily(
        "primacy_group_persist_seconds", "From a decision until it is on disk.", labels=["group"]
    )
    for group in groups:
        runner = group.runner
        name = [runner.name]
        up.add_metric(name, float(group.view is not None and not runner.trouble))
        sessions.add_metric(name, runner.session_count)
        reports.add_metric(name, runner.heard_count)
        refusals.add_metric(name, runner.refusal_count)
        latency: Latency = runner.persist_latency
        persists.add_metric(
            name, [(bound, float(count)) for bound, count in latency.buckets()], latency.sum_ns / SECOND_NS
        )
    yield from (up, sessions, reports, refusals, persists)


def _routed_family(groups: Iterable[GroupSample]) -> Metric:
    """Summed over agents. Only names of registered regions become labels, and only so many: the rest is `other`."""
    routed = CounterMetricFamily(
        "primacy_group_routed",
        "Requests routed, as agents count them.",
        labels=["group", "client_region", "target_region", "traffic_class", "strategy", "outcome"],
    )
    for group in groups:
        known = {region.record.name for region in group.view.regions} if group.view is not None else set()
        sums: dict[tuple[str, ...], int] = {}
        for count in sorted(group.routed, key=_kind):
            client, target, *how = _kind(count)
            client = client if client in known or not client else OTHER
            target = target if target in known or not target else OTHER
            labels = (client, target, *how)
            if labels not in sums and len(sums) >= ROUTED_KINDS_MAX:
                labels = (OTHER, OTHER, *how)
            sums[labels] = sums.get(labels, 0) + count.count
        for labels, total in sums.items():
            routed.add_metric([group.runner.name, *labels], total)
    return routed


def _kind(count: RouteCount) -> tuple[str, ...]:
    traffic_class = "write" if count.traffic_class == WRITE else "read"
    known = count.strategy in set(RoutingStrategy)
    strategy = RoutingStrategy(count.strategy).name.lower() if known else ""
    return count.client_region, count.target_region, traffic_class, strategy, count.outcome


def _authority_families(groups: Iterable[tuple[str, GroupView]]) -> Iterator[Metric]:
    epoch = _gauge("primacy_group_epoch", "The newest durable epoch.", ["group"])
    remaining = _gauge(
        "primacy_group_lease_remaining_seconds", "How long the active lease may still be valid unrenewed.", ["group"]
    )
    doubt = _gauge("primacy_group_in_doubt", "1 while the store is not trusted and nothing is decided.", ["group"])
    moving = _gauge("primacy_group_failover_running", "1 while a move of the active lease is under way.", ["group"])
    doubting = _gauge("primacy_group_self_doubt", "1 while the coordinator suspects its own link.", ["group"])
    panic = _gauge("primacy_group_panic", "1 while so few regions look healthy that reads ignore it.", ["group"])
    left = _gauge(
        "primacy_override_remaining_seconds", "How long an override still lasts.", ["group", "kind", "region"]
    )
    for name, view in groups:
        epoch.add_metric([name], view.lease.epoch)
        remaining.add_metric([name], view.lease.remaining_ns / SECOND_NS)
        doubt.add_metric([name], float(view.doubt is not None))
        moving.add_metric([name], float(view.failover is not None))
        doubting.add_metric([name], float(view.self_doubt is not None))
        panic.add_metric([name], float(view.weights.panic))
        for override in view.overrides:
            record = override.record
            left.add_metric([name, record.what.name.lower(), record.region], override.remaining_ns / SECOND_NS)
    yield from (epoch, remaining, doubt, moving, doubting, panic, left)


def _region_families(groups: Iterable[tuple[str, GroupView]]) -> Iterator[Metric]:
    active = _gauge("primacy_region_active", "Whether the region holds the active lease.", ["group", "region"])
    status = _gauge(
        "primacy_region_status", "1 for the status the region is in, 0 for the others.", ["group", "region", "status"]
    )
    agents = _gauge("primacy_region_agents", "Agents of the region with an open session.", ["group", "region"])
    cordoned = _gauge("primacy_region_cordoned", "Whether the region may not become active.", ["group", "region"])
    drained = _gauge(
        "primacy_region_drain", "0: not drained, 1: its traffic goes away, 2: drained.", ["group", "region"]
    )
    penalty = _gauge("primacy_region_flap_penalty", "Its decayed count of falls.", ["group", "region"])
    weight = _gauge(
        "primacy_region_weight",
        "Share of a client region's traffic that a region should get.",
        ["group", "traffic_class", "client_region", "target_region"],
    )
    for name, view in groups:
        for region in view.regions:
            where = [name, region.record.name]
            active.add_metric(where, float(region.active))
            cordoned.add_metric(where, float(region.cordoned))
            drained.add_metric(where, float(region.drain_state - DrainState.NONE))
            penalty.add_metric(where, region.penalty)
            agents.add_metric(where, sum(agent.connected for agent in region.agents))
            for one in RegionStatus:
                status.add_metric([*where, one.name.lower()], float(region.verdict.status is one))
        for traffic_class, rows in (("read", view.weights.read), ("write", view.weights.write)):
            for client, shares in rows:
                for target, share in shares:
                    weight.add_metric([name, traffic_class, client, target], share)
    yield from (active, status, agents, cordoned, drained, penalty, weight)


def render_metrics(sample: ProcessSample, accept: str) -> tuple[bytes, str]:
    """The body of `/metrics` and its content type, in the format that the `Accept` header asks for.

    For any thread. With fifty regions it takes a tenth of a second, which the loop that renews leases does not have.
    """
    encode: Callable[[CollectorRegistry], bytes]
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families(sample))
    ProcessCollector(registry=registry)
    return encode(registry), content_type
