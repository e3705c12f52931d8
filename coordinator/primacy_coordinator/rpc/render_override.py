"""Overrides, lag and prices as the API shows them."""

from __future__ import annotations

from primacy.v1 import election_pb2, override_pb2
from primacy_wire.messages import Lag

from primacy_coordinator.core.model import DrainState, HookRun, OverrideKind, Price
from primacy_coordinator.core.views import OverrideView
from primacy_coordinator.rpc.lengths import render_instant, render_length


def render_override(view: OverrideView) -> override_pb2.Override:
    record = view.record
    rendered = override_pb2.Override(
        kind=override_pb2.OverrideKind.ValueType(record.what),
        region=record.region,
        reason=record.reason,
        owner=record.owner,
        start_time=render_instant(record.start_wall_ns),
        expire_time=render_instant(record.expire_wall_ns),
        remaining=render_length(view.remaining_ns),
        weights=dict(record.shares),
    )
    if record.what is OverrideKind.DRAIN:
        state = DrainState.DRAINED if record.drained else DrainState.DRAINING
        rendered.drain_state = override_pb2.DrainState.ValueType(state)
        rendered.failover_id = record.switchover_id
        rendered.traffic_only = record.traffic_only
    return rendered


def render_lag(lag: Lag) -> override_pb2.Lag:
    """What was not measured is not set."""
    return _render_lag(lag.age_ns, lag.entries, lag.bytes)


def _render_lag(age_ns: int, entries: int, size: int) -> override_pb2.Lag:
    rendered = override_pb2.Lag(entries=entries if entries >= 0 else None, bytes=size if size >= 0 else None)
    if age_ns >= 0:
        rendered.age.CopyFrom(render_length(age_ns))
    return rendered


def render_price(price: Price) -> election_pb2.Price:
    rendered = election_pb2.Price(
        added_latency=render_length(price.added_latency_ns), capacity_short=price.capacity_short
    )
    if max(price.age_ns, price.entries, price.bytes) >= 0:
        rendered.at_risk.CopyFrom(_render_lag(price.age_ns, price.entries, price.bytes))
    return rendered


def render_hook(run: HookRun) -> election_pb2.HookRun:
    return election_pb2.HookRun(
        agent=run.agent,
        hook=run.hook,
        outcome=run.outcome,
        exit_code=run.exit_code,
        output=run.output,
        end_time=render_instant(run.end_wall_ns),
        duration=render_length(run.length_ns),
    )
