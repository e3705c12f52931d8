"""Assembles what an election is decided from. How it is decided stands in `election`."""

from __future__ import annotations

from primacy_coordinator.core import authority, damping, observation, overrides
from primacy_coordinator.core.election import CandidateInput, ElectionInput, Ranking, rank
from primacy_coordinator.core.log import progress
from primacy_coordinator.core.model import RegionStatus
from primacy_coordinator.core.state import Region, State


def election_input(
    state: State,
    now_ns: int,
    serving: bool,
    target: str = "",
    exclude: tuple[str, ...] = (),
    override_rules: tuple[str, ...] = (),
    forced: bool = False,
    if_down: str = "",
) -> ElectionInput:
    """The election as it stands now, or as it would stand if the region `if_down` died this instant."""
    rtts = observation.round_trips(state)
    active = state.regions.get(state.authority.record.accepted_region)
    return ElectionInput(
        strategy=state.policy.strategy,
        serving=serving,
        candidates=tuple(
            _candidate(state, region, now_ns, rtts, dead=name == if_down)
            for name, region in sorted(state.regions.items())
        ),
        client_traffic=state.policy.client_traffic,
        target=target,
        exclude=exclude,
        override_rules=override_rules,
        active_region=state.authority.record.accepted_region,
        active_rate=observation.last_rate(active) if active is not None else -1.0,
        max_lag=state.policy.max_lag,
        forced=forced,
    )


def _candidate(
    state: State, region: Region, now_ns: int, rtts: tuple[tuple[str, str, int], ...], dead: bool
) -> CandidateInput:
    name = region.record.name
    return CandidateInput(
        region=name,
        status=RegionStatus.DOWN if dead else region.verdict.status,
        status_reason="supposed to be down" if dead else region.verdict.reason,
        heard=not dead and observation.is_heard(state, region, now_ns),
        is_active=state.authority.record.accepted_region == name and authority.is_serving(state, now_ns) and not dead,
        priority=region.record.priority,
        capacity=observation.capacity_of(region),
        load=observation.load_of(region),
        availability=region.availability,
        rtts=tuple((client, rtt_ns) for client, target, rtt_ns in rtts if target == name),
        unanswered=region.unanswered,
        lag=progress.data_lag(state, region, now_ns),
        deficit=progress.data_deficit(state, region, now_ns),
        against=(
            *overrides.against(state, name),
            *damping.against(state, region, now_ns),
            *progress.against(state, name),
        ),
    )


def rank_now(
    state: State,
    now_ns: int,
    serving: bool = False,
    target: str = "",
    exclude: tuple[str, ...] = (),
    override_rules: tuple[str, ...] = (),
    forced: bool = False,
) -> Ranking:
    return rank(election_input(state, now_ns, serving, target, exclude, override_rules, forced))
