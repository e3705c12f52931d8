"""When weights are computed, and who is told. What they are is decided in `routing`."""

from __future__ import annotations

from primacy_wire.messages import WeightsUpdate

from primacy_coordinator.core import authority, observation, ranking
from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.model import RoutingStrategy
from primacy_coordinator.core.routing import RegionInput, WeightsInput, WeightsResult, weigh
from primacy_coordinator.core.state import Session, State, Weights
from primacy_coordinator.core.turn import Turn

VERSIONS_PER_RUN = 1 << 32
"""Versions go on growing over restarts: the number of the run is above, the count within it below."""
FOLLOWS_LOAD = frozenset({RoutingStrategy.HEALTH, RoutingStrategy.LATENCY})
"""Strategies whose inputs move without any status changing: computed anew every report interval."""

EMPTY = WeightsResult((), (), False, ())


def initial(run_count: int) -> Weights:
    return Weights(run_count * VERSIONS_PER_RUN, EMPTY, "", 0)


def active_now(state: State, now_ns: int) -> tuple[str, int]:
    """(region, epoch) of whoever may still be active; the region is empty when nobody is."""
    record = state.authority.record
    if authority.is_serving(state, now_ns):
        return record.accepted_region, record.accepted_epoch
    return "", record.accepted_epoch


def weights_input(state: State, now_ns: int) -> WeightsInput:
    weights = dict(state.policy.region_weights)
    regions = tuple(
        RegionInput(
            name=name,
            status=region.verdict.status,
            location=region.record.location,
            capacity=observation.capacity_of(region),
            weight=weights.get(name, 1.0),
            healthy_share=observation.healthy_share(region),
            load=observation.load_of(region),
        )
        for name, region in sorted(state.regions.items())
    )
    active = state.authority.record.accepted_region
    order = ranking.rank_now(state, now_ns, exclude=(active,) if active else ()).candidates
    fallback = tuple(c.region for c in sorted((c for c in order if c.rank), key=lambda c: c.rank))
    return WeightsInput(
        strategy=state.policy.read_strategy,
        regions=regions,
        active_region=active if active in state.regions else "",
        fallback=fallback,
        rtts=observation.round_trips(state),
        panic_threshold=state.policy.panic_threshold,
    )


def refresh(state: State, turn: Turn) -> None:
    """Compute the weights if anything that they rest on changed, and push what is new."""
    now_ns = turn.now.mono_ns
    follows = state.policy.read_strategy in FOLLOWS_LOAD and now_ns >= state.weights_due_ns
    if not state.weights_dirty and not follows:
        return
    state.weights_dirty = False
    state.weights_due_ns = now_ns + state.policy.report_interval_ns
    given = weights_input(state, now_ns)
    result = weigh(given)
    active, epoch = active_now(state, now_ns)
    endpoints = tuple((name, region.record.endpoint) for name, region in sorted(state.regions.items()))
    old = state.weights
    if (old.result, old.active_region, old.active_epoch, old.endpoints) == (result, active, epoch, endpoints):
        return
    state.weights = Weights(old.version + 1, result, active, epoch, endpoints)
    if old.result != result:
        turn.journal("weights-changed", _describe(result), epoch=epoch, inputs=given)
    if result.panic and not old.result.panic:
        turn.journal("panic-on", "too few regions look healthy: reads go to all that serve, whatever their figures")
    turn.changed(Topic.WEIGHTS)
    cache: dict[str, WeightsUpdate] = {}
    for session in state.sessions.values():
        push(state, turn, session, cache)


def _describe(result: WeightsResult) -> str:
    rows = {row for _, row in result.read}
    if len(rows) == 1:
        (row,) = rows
        return "reads: " + ", ".join(f"{name} {share:.0%}" for name, share in row if share)
    return "reads: " + "; ".join(
        f"from {client}: " + ", ".join(f"{name} {share:.0%}" for name, share in row if share)
        for client, row in result.read
    )


def push(state: State, turn: Turn, session: Session, cache: dict[str, WeightsUpdate] | None = None) -> None:
    """Send a session its region's rows; one value serves all sessions of a region."""
    cache = {} if cache is None else cache
    update = cache.get(session.region)
    if update is None:
        update = cache[session.region] = _update(state, session.region)
    turn.send(session.number, update)


def _update(state: State, region: str) -> WeightsUpdate:
    weights = state.weights
    return WeightsUpdate(
        version=weights.version,
        strategy=int(state.policy.read_strategy),
        read=dict(weights.result.read).get(region, ()),
        write=dict(weights.result.write).get(region, ()),
        active_region=weights.active_region,
        active_epoch=weights.active_epoch,
        endpoints=weights.endpoints,
    )
