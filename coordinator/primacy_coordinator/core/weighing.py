"""When weights are computed, and who is told. What they are is decided in `routing`, how they change in `shaping`."""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.messages import WeightsUpdate

from primacy_coordinator.core import authority, draining, observation, ranking, recovery
from primacy_coordinator.core.basis import Basis
from primacy_coordinator.core.demand import Counted
from primacy_coordinator.core.effects import Severity, Topic
from primacy_coordinator.core.fallback import fallback_of
from primacy_coordinator.core.model import OverrideKind, RoutingStrategy
from primacy_coordinator.core.room import is_near, room_of
from primacy_coordinator.core.routing import (
    RegionInput,
    WeightsInput,
    WeightsResult,
    usable_of,
    weigh,
)
from primacy_coordinator.core.shaping import is_urgent, relieves, shape
from primacy_coordinator.core.state import Session, State, Weights
from primacy_coordinator.core.turn import Turn

VERSIONS_PER_RUN = 1 << 32
"""Versions go on growing over restarts: the number of the run is above, the count within it below."""
FOLLOWS_LOAD = frozenset({RoutingStrategy.HEALTH, RoutingStrategy.LATENCY, RoutingStrategy.OPTIMAL})
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
            capacity=observation.whole_capacity_of(region),
            weight=weights.get(name, 1.0),
            healthy_share=observation.healthy_share(region),
            load=observation.load_of(region),
            ramp=recovery.slow_start_factor(state, region, now_ns),
            drain=draining.drain_factor(state, name, now_ns),
        )
        for name, region in sorted(state.regions.items())
    )
    active = state.authority.record.accepted_region
    order = ranking.rank_now(state, now_ns, exclude=(active,) if active else ()).candidates
    fallback = tuple(c.region for c in sorted((c for c in order if c.rank), key=lambda c: c.rank))
    pins = tuple(
        (o.record.region, o.record.shares)
        for _, o in sorted(state.overrides.items())
        if o.record.what is OverrideKind.PIN
    )
    return WeightsInput(
        strategy=state.policy.read_strategy,
        regions=regions,
        active_region=active if active in state.regions else "",
        fallback=fallback,
        rtts=observation.round_trips(state),
        panic_threshold=state.policy.panic_threshold,
        overprovisioning=state.policy.overprovisioning,
        pins=pins,
    )


def _steadied(state: State, given: WeightsInput, now_ns: int) -> WeightsInput:
    """The input as the strategy wants it: OPTIMAL has its own figures (see `basis`)."""
    if given.strategy is not RoutingStrategy.OPTIMAL:
        state.basis = None
        return given
    state.basis = state.basis or Basis()
    return state.basis.look(
        given,
        said=frozenset(name for name, region in state.regions.items() if region.record.capacity > 0),
        shares=state.policy.client_traffic,
        counted=[
            Counted(key, agent.report.incarnation, agent.report_ns, agent.routed_now)
            for key, agent in state.agents.items()
            if agent.session is not None and agent.report is not None
        ],
        rows=state.weights.result.read,
        interval_ns=state.policy.report_interval_ns,
        now_ns=now_ns,
    )


def refresh(state: State, turn: Turn) -> None:
    """Compute the weights if anything that they rest on changed or moves on with time, and push what is new."""
    now_ns = turn.now.mono_ns
    due = now_ns >= state.weights_due_ns
    if not state.weights_dirty and not due:
        return
    growing = recovery.is_ramping(state)
    moves = growing or state.shaped.is_moving or draining.is_ramping(state, now_ns)
    follows = state.policy.read_strategy in FOLLOWS_LOAD or moves or state.ramped
    if not state.weights_dirty and not follows:
        return
    elapsed_ns = now_ns - state.weights_ns
    state.weights_dirty = False
    state.weights_ns = now_ns
    state.weights_due_ns = now_ns + state.policy.report_interval_ns
    given = _steadied(state, weights_input(state, now_ns), now_ns)
    old = state.weights
    wanted = old.wanted if old.wanted is not None and given == old.given else weigh(given)
    fails = is_urgent(old.given, given)
    state.shaped = shape(
        state.shaped,
        wanted.read,
        elapsed_ns,
        state.policy.weight_slew,
        state.policy.weight_hysteresis,
        fails or (state.basis is not None and relieves(given, old.result.read, wanted.read)),
    )
    result = replace(wanted, read=state.shaped.rows)
    if state.basis is not None and fails and result.read != old.result.read:
        state.basis.hold(now_ns)
    was_moving, state.ramped = state.ramped, growing or state.shaped.is_moving or draining.is_ramping(state, now_ns)
    _tell_of_pins(state, turn, given)
    active, epoch = active_now(state, now_ns)
    endpoints = tuple((name, region.record.endpoint) for name, region in sorted(state.regions.items()))
    places = tuple((region.name, region.location) for region in given.regions if region.location is not None)
    policy = state.policy
    limits = (policy.panic_threshold, policy.overprovisioning, policy.local_shift_max)
    room = room_of(given, result.read)
    new = Weights(old.version + 1, result, active, epoch, endpoints, places, limits, room, given, wanted)
    if _told(old) == _told(new) and is_near(old.room, room):
        if old.given != given:
            old.given, old.wanted, old.causes = given, wanted, None
        return
    state.weights = new
    if old.result != result and not (was_moving and state.ramped and old.result.write == result.write):
        # Of a slow change the first and the last step are news.
        turn.journal("weights-changed", _describe(result), epoch=epoch, inputs=given)
    if result.panic and not old.result.panic:
        turn.journal(
            "panic-on",
            "too few regions look healthy: reads go to all that serve, whatever their figures",
            Severity.WARNING,
        )
    if old.result.panic and not result.panic:
        turn.journal("panic-off", "enough regions look healthy again: reads follow their health")
    if result.overload and not old.result.overload:
        turn.journal(
            "overload-on",
            "the demand is more than all regions that may get reads can serve: each gets the same part of its capacity",
            Severity.WARNING,
        )
    if old.result.overload and not result.overload:
        turn.journal("overload-off", "all regions together can serve the demand again")
    turn.changed(Topic.WEIGHTS)
    cache: dict[str, WeightsUpdate] = {}
    for session in state.sessions.values():
        push(state, turn, session, cache)


def _told(weights: Weights) -> tuple[object, ...]:
    """What agents hear of; what else is kept of the weights changes with every report."""
    return (
        weights.result,
        weights.active_region,
        weights.active_epoch,
        weights.endpoints,
        weights.locations,
        weights.limits,
        # Of the same rows others may be the ones that stand behind them.
        weights.given and (weights.given.strategy, weights.given.fallback),
    )


def _tell_of_pins(state: State, turn: Turn, given: WeightsInput) -> None:
    """A pinned region that does not serve leaves its share to others: somebody must hear of it."""
    usable = {region.name for region in usable_of(given)}
    dead = frozenset(
        (client, name) for client, shares in given.pins for name, share in shares if share > 0 and name not in usable
    )
    for client, name in sorted(dead - state.pins_dead):
        turn.journal(
            "pin-dead",
            f"the reads of {client or 'all client regions'} are pinned to {name}, which does not serve: its share goes "
            "to others while that is so",
            Severity.WARNING,
            region=name,
        )
    state.pins_dead = dead


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
    panic, overprovisioning, shift = weights.limits
    read = dict(weights.result.read).get(region, ())
    return WeightsUpdate(
        version=weights.version,
        strategy=int(state.policy.read_strategy),
        read=read,
        write=dict(weights.result.write).get(region, ()),
        active_region=weights.active_region,
        active_epoch=weights.active_epoch,
        endpoints=weights.endpoints,
        locations=weights.locations,
        fallback=fallback(state, region),
        drained=tuple(r.name for r in weights.given.regions if r.drain < 1) if weights.given is not None else (),
        panic_threshold=panic,
        overprovisioning=overprovisioning,
        local_shift_max=shift,
        room=() if _is_pinned(weights.given, region) else weights.room,
    )


def _is_pinned(given: WeightsInput | None, client: str) -> bool:
    """An operator said where its reads go: what leaves a region goes to the others that were named."""
    return given is not None and any(pinned in ("", client) for pinned, _ in given.pins)


def fallback(state: State, client: str) -> tuple[str, ...]:
    """Regions with no share of a client region's reads that may have some when the others cannot serve."""
    weights = state.weights
    row = dict(weights.result.read).get(client)
    return fallback_of(weights.given, client, row) if weights.given is not None and row is not None else ()


def deadlines(state: State) -> list[int]:
    """When the weights move on with time alone."""
    return [state.weights_due_ns] if state.ramped else []
