"""Frozen copies of the state for readers. Nothing here changes anything."""

from __future__ import annotations

from dataclasses import replace

from primacy_wire.instant import Now
from primacy_wire.messages import Lag, Load, Phase, RouteCount, ServiceState

from primacy_coordinator.core import authority, damping, observation, overrides, ranking, recovery, steps
from primacy_coordinator.core.causes import ClientCauses
from primacy_coordinator.core.causes import explain as explain_shares
from primacy_coordinator.core.election import rank
from primacy_coordinator.core.log import progress
from primacy_coordinator.core.model import OverrideKind, RegionStatus
from primacy_coordinator.core.state import Agent, Region, State
from primacy_coordinator.core.views import (
    AgentView,
    ExplanationView,
    GroupView,
    LeaseView,
    RegionView,
    RouteTotal,
    SelfDoubtView,
    SightView,
    WeightsView,
)
from primacy_coordinator.core.weighing import active_now


def lease_view(state: State, now: Now) -> LeaseView:
    """Who is active, as far as it is durable."""
    lease = state.authority
    durable = lease.durable
    serving = durable.accepted_epoch == durable.epoch and authority.is_serving(state, now.mono_ns)
    return LeaseView(
        active_region=durable.accepted_region if serving else "",
        epoch=durable.epoch,
        accepted_epoch=durable.accepted_epoch,
        accepted_region=durable.accepted_region,
        holder=durable.holder,
        phase=durable.phase,
        remaining_ns=max(0, authority.hold_end_ns(state) - now.mono_ns),
        ttl_ns=state.policy.lease_ttl_ns,
        wait_ns=max(0, lease.wait_until_ns - now.mono_ns),
    )


def _causes(state: State) -> ClientCauses:
    weights = state.weights
    if weights.causes is None:
        weights.causes = () if weights.given is None else explain_shares(weights.given, weights.result.read)
    return weights.causes


def weights_view(state: State, explained: bool = True) -> WeightsView:
    result = state.weights.result
    return WeightsView(
        version=state.weights.version,
        strategy=state.policy.read_strategy,
        read=result.read,
        write=result.write,
        panic=result.panic,
        reasons=result.reasons,
        causes=_causes(state) if explained else (),
    )


def region_view(state: State, now: Now, name: str) -> RegionView | None:
    region = state.regions.get(name)
    return None if region is None else _region(state, now, region)


def _region(state: State, now: Now, region: Region) -> RegionView:
    active, _ = active_now(state, now.mono_ns)
    lacks = recovery.note(state, region, now.mono_ns)
    verdict = region.verdict
    return RegionView(
        record=region.record,
        verdict=replace(verdict, reason=f"{verdict.reason}; {lacks}") if lacks else verdict,
        active=active == region.record.name,
        load=observation.load_of(region),
        agents=tuple(_agent(now, agent) for _, agent in sorted(region.agents.items())),
        drain_state=overrides.drain_state(state, region.record.name),
        cordoned=overrides.find(state, OverrideKind.CORDON, region.record.name) is not None,
        overrides=overrides.views(state, now.mono_ns, region.record.name),
        lag=progress.data_lag(state, region, now.mono_ns),
        penalty=damping.penalty(region.damping, state.wall(now.mono_ns), state.policy),
        damped=damping.is_damped(region.damping, state.wall(now.mono_ns), state.policy),
    )


def _agent(now: Now, agent: Agent) -> AgentView:
    report = agent.report
    return AgentView(
        region=agent.record.region,
        agent=agent.record.agent,
        incarnation=agent.record.incarnation,
        host=agent.record.host,
        peer_address=agent.record.peer_address,
        connected=agent.session is not None,
        report_age_ns=now.mono_ns - agent.report_ns if report else -1,
        phase=report.phase if report else Phase.STANDBY,
        held_epoch=report.epoch if report else 0,
        lease_valid=report.valid if report else False,
        service=report.health.state if report else ServiceState.STARTING,
        healthy=report.health.healthy if report else 0,
        total=report.health.total if report else 0,
        reason=report.health.reason if report else "nothing was heard of it since the coordinator started",
        load=report.load if report else Load(),
        lag=report.lag if report else Lag(),
        wall_offset_ns=agent.wall_offset_ns,
        shunned=report.shunned if report else (),
        detail=report.detail if report else None,
    )


def group_view(state: State, now: Now, for_monitoring: bool = False) -> GroupView:
    """Everything at once: for status screens, not for hot paths.

    `for_monitoring` leaves out what is dear in large groups, and known otherwise: sights, and the causes of weights.
    """
    return GroupView(
        group=state.group,
        store_id=state.store_id,
        run_id=state.run_id,
        membership_version=state.membership.version,
        lease=lease_view(state, now),
        doubt=state.doubt.record if state.doubt else None,
        policy=state.policy,
        policy_version=state.policy_record.version,
        regions=tuple(_region(state, now, region) for _, region in sorted(state.regions.items())),
        weights=weights_view(state, explained=not for_monitoring),
        failover=state.move.record if state.move else None,
        failovers=tuple(reversed(state.failovers.values())),
        sights=() if for_monitoring else sights(state, now),
        overrides=overrides.views(state, now.mono_ns),
        self_doubt=_self_doubt(state, now),
    )


def _self_doubt(state: State, now: Now) -> SelfDoubtView | None:
    doubt = state.self_doubt
    return None if doubt is None else SelfDoubtView(doubt.name, doubt.reason, max(0, doubt.end_ns - now.mono_ns))


def sights(state: State, now: Now) -> tuple[SightView, ...]:
    """What every connected agent sees of other regions."""
    found = []
    for key, agent in sorted(state.agents.items()):
        if agent.report is None or agent.session is None:
            continue
        age_ns = now.mono_ns - agent.report_ns
        found += [
            SightView(key, agent.record.region, s.region, s.agent, s.reachable, s.rtt_ns, s.age_ns + age_ns)
            for s in agent.report.sights
        ]
    return tuple(found)


def explain(state: State, now: Now, if_down: str) -> ExplanationView:
    """The election as it would go now, or if the region `if_down` died this instant."""
    now_ns = now.mono_ns
    active, _ = active_now(state, now_ns)
    held = bool(active) and active != if_down
    serving = held and state.regions[active].verdict.status is not RegionStatus.DOWN
    given = ranking.election_input(state, now_ns, serving, if_down=if_down, exclude=(active,) if held else ())
    best = rank(given)
    return ExplanationView(
        strategy=state.policy.strategy,
        winner=best.winner,
        candidates=best.candidates,
        explanation=best.explanation,
        active_region=active,
        if_down=if_down,
        would_move=not serving and bool(best.winner) and not steps.is_put_off(state),
    )


def routing_totals(state: State) -> tuple[RouteTotal, ...]:
    """Routed requests over all agents and lives, sorted."""
    totals: list[RouteTotal] = []
    for name, agent in sorted(state.agents.items()):
        counts, rates = dict(agent.routed), {}
        for count in agent.routed_now:
            key = (count.client_region, count.target_region, count.traffic_class, count.strategy, count.outcome)
            counts[key] = counts.get(key, 0) + count.count
            if agent.session is not None:
                rates[key] = count.rate
        totals += [
            RouteTotal(RouteCount(*key, value, rates.get(key, 0.0)), name) for key, value in sorted(counts.items())
        ]
    return tuple(totals)
