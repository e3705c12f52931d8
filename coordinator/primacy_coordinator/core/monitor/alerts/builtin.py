"""Which built-in alerts hold: one small function for each, from facts to findings.

Where nothing can be said (a region that is not heard, a group that cannot be read), a condition is unknown: that
neither begins an alert nor ends one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from primacy_coordinator.core.model import (
    OVERRIDE_WARNING_NS,
    ApprovalAction,
    DrainState,
    FailoverState,
    Limits,
    OverrideKind,
    RegionStatus,
    RoutingStrategy,
)
from primacy_coordinator.core.monitor.alerts.facts import NOTABLE, Facts
from primacy_coordinator.core.monitor.alerts.finding import ANY, Finding, Looked
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.core.views import GroupView, LogView, RegionView

SIGHT_NS_MAX = 15 * SECOND_NS
"""What an agent saw longer ago says nothing of now."""
STALL_SEEN_NS = 15 * SECOND_NS
"""After a start, so much later than it could have stood a stalled log is seen: a lease must be heard of, too."""
UNCLEAR = frozenset({RegionStatus.UNKNOWN, RegionStatus.JOINING, RegionStatus.SUSPECT, RegionStatus.RECOVERING})
"""Neither up nor down: an alert about the region goes on as it was."""


def look(facts: Facts) -> Looked:
    """Every built-in alert that needs no measurements."""
    held = list(_of_process(facts))
    if facts.view is None or facts.log is None:
        return Looked(tuple(held), blind=True)
    view, log = facts.view, facts.log
    for find in _OF_GROUP:
        held += find(view)
    held += _no_standby(facts, view)
    held += _told(facts)
    held += _of_log(facts, view, log)
    unknown = set(_unknown(facts, view, log))
    return Looked(tuple(sorted(held, key=lambda one: one.id)), frozenset(unknown), blind=not facts.settled)


def _unknown(facts: Facts, view: GroupView, log: LogView) -> Iterator[tuple[str, str]]:
    if facts.process.uptime_ns < view.policy.stall_after_ns + STALL_SEEN_NS:
        yield "silent-stall", ANY
    for region in view.regions:
        name = region.record.name
        if region.verdict.status in UNCLEAR:
            yield "region-down", name
        if region.lag == Lag():
            yield "lag", name
        if region.verdict.status is RegionStatus.SUSPECT:
            yield "agents-shifting", name
    if view.lease.wait_ns or view.self_doubt is not None:
        yield "no-active-region", ""
        yield "coordinator-alone", ""
    if view.failover is not None or not view.lease.active_region:
        # Who stands by is seen when somebody is active again.
        yield "no-standby", ""
        yield "would-not-survive", ANY
    for one in log.regions:
        if not one.heard:
            yield "parked-entry", one.region


# ---- the process


def _of_process(facts: Facts) -> Iterator[Finding]:
    process = facts.process
    for rule, trouble in (
        ("store-trouble", process.store_trouble),
        ("journal-trouble", process.journal_trouble),
        ("metrics-trouble", process.metrics_trouble),
    ):
        if trouble:
            yield Finding(rule, summary=f"the {rule.partition('-')[0]} is in trouble: {trouble}")
    for name, trouble in process.sinks:
        if trouble:
            yield Finding("sink-failing", subject=name, summary=f"alerts cannot be sent to {name}: {trouble}")
    if process.dropped:
        whose = f", of {process.dropped_by}" if process.dropped_by else ""
        yield Finding(
            "cardinality-capped",
            summary=f"{process.dropped:,} values were left out lately{whose}: there are more series than are kept",
            value=float(process.dropped),
        )


# ---- authority


def _coordinator_alone(view: GroupView) -> Iterator[Finding]:
    agents = [agent for region in view.regions for agent in region.agents]
    if len(view.regions) > 1 and agents and not any(agent.connected for agent in agents):
        yield Finding(
            "coordinator-alone",
            summary=f"none of the {len(agents)} agents in {len(view.regions)} regions is heard",
            value=0.0,
            threshold=1.0,
        )


def _store_doubt(view: GroupView) -> Iterator[Finding]:
    if view.doubt is not None:
        yield Finding("store-doubt", summary=f"nothing is decided: {view.doubt.reason}")


def _awaiting_approval(view: GroupView) -> Iterator[Finding]:
    move = view.failover
    if move is not None and move.state is FailoverState.AWAITING_APPROVAL:
        waits = (
            "after that it moves anyway"
            if view.policy.approval_action is ApprovalAction.MOVE
            else "for as long as it takes"
        )
        yield Finding(
            "awaiting-approval",
            summary=f"failover {move.id} from {move.from_region or 'nobody'} to {move.to_region or 'the best'} waits "
            f"for approval, {waits}: {move.explanation or move.cause}",
            evidence=move.evidence,
        )


def _no_active(view: GroupView) -> Iterator[Finding]:
    if view.lease.active_region or not any(region.agents for region in view.regions):
        return
    paused = any(override.record.what is OverrideKind.PAUSE for override in view.overrides)
    why = "elections are paused" if paused else (view.failover.cause if view.failover is not None else "")
    yield Finding("no-active-region", summary="no region is active: nobody may write" + (f"; {why}" if why else ""))


def _region_down(view: GroupView) -> Iterator[Finding]:
    for region in view.regions:
        if region.verdict.status is RegionStatus.DOWN:
            drained = region.drain_state is DrainState.DRAINED
            yield Finding(
                "region-down",
                region.record.name,
                summary=f"{region.record.name} is down: {region.verdict.reason}"
                + (" (it is drained)" if drained else ""),
                # Somebody took its traffic away before: nobody needs to get up.
                severity=Severity.WARNING if drained else None,
                evidence=region.verdict.evidence,
            )


def _panic(view: GroupView) -> Iterator[Finding]:
    if view.weights.panic:
        well = sum(region.verdict.status in (RegionStatus.HEALTHY, RegionStatus.DEGRADED) for region in view.regions)
        yield Finding(
            "panic",
            summary=f"only {well} of {len(view.regions)} regions look healthy: reads ignore health",
            value=well / max(1, len(view.regions)),
            threshold=view.policy.panic_threshold,
        )


def _self_doubt(view: GroupView) -> Iterator[Finding]:
    if view.self_doubt is not None:
        yield Finding("self-doubt", summary=f"the coordinator suspects itself: {view.self_doubt.reason}")


def _no_standby(facts: Facts, view: GroupView) -> Iterator[Finding]:
    """`no-standby`, or `would-not-survive` of the active region, or of any other."""
    active, then = view.lease.active_region, facts.if_active_died
    if active and then is not None and then.active_region == active and len(view.regions) > 1:
        if not then.winner:
            refused = tuple(f"{one.region}: {one.rule} {one.detail}".rstrip() for one in then.candidates if one.rule)
            yield Finding(
                "no-standby",
                summary=f"if {active} died now nobody could take over"
                + (f" ({'; '.join(refused)})" if refused else ""),
                evidence=refused,
            )
        else:
            yield from _dear(view, active, then.winner, facts)
    if view.policy.read_strategy is not RoutingStrategy.ACTIVE_ONLY:
        yield from _too_little_capacity(view)


def _dear(view: GroupView, active: str, winner: str, facts: Facts) -> Iterator[Finding]:
    then = facts.if_active_died
    price = next((one.price for one in then.candidates if one.region == winner), None) if then is not None else None
    if price is None:
        return
    if price.capacity_short > 0 and view.policy.read_strategy is RoutingStrategy.ACTIVE_ONLY:
        yield Finding(
            "would-not-survive",
            active,
            summary=f"if {active} died now, {winner} would lack {price.capacity_short:.0f} requests/s of capacity",
            value=price.capacity_short,
            threshold=0.0,
        )
    elif view.policy.approval_action is ApprovalAction.WAIT and beyond(
        Lag(price.age_ns, price.entries, price.bytes), view.policy.max_loss
    ):
        yield Finding(
            "would-not-survive",
            active,
            summary=f"if {active} died now, the failover to {winner} may lose more than maxLoss and would wait for "
            "approval",
        )


def _too_little_capacity(view: GroupView) -> Iterator[Finding]:
    """Reads are spread: could the others carry what each region carries? Only where every capacity is known."""
    capacities = {region.record.name: _capacity(region) for region in view.regions if _serves(region)}
    rates = [region.load.request_rate for region in view.regions if _serves(region)]
    if len(capacities) < 2 or any(value <= 0 for value in capacities.values()) or any(rate < 0 for rate in rates):
        return
    wanted, whole = sum(rates), sum(capacities.values())
    for name, capacity in sorted(capacities.items()):
        if wanted > whole - capacity:
            yield Finding(
                "would-not-survive",
                name,
                summary=f"without {name} the others could serve {whole - capacity:.0f} requests/s; {wanted:.0f} come",
                value=wanted,
                threshold=whole - capacity,
            )


def _capacity(region: RegionView) -> float:
    return region.load.capacity if region.load.capacity > 0 else region.record.capacity


def _serves(region: RegionView) -> bool:
    well = region.verdict.status in (RegionStatus.HEALTHY, RegionStatus.DEGRADED, RegionStatus.SUSPECT)
    return well and region.drain_state is DrainState.NONE


# ---- regions and operators


def _link_lost(view: GroupView) -> Iterator[Finding]:
    for region in view.regions:
        name = region.record.name
        if not region.agents or any(agent.connected for agent in region.agents):
            continue
        seen = sorted(
            {
                sight.observer_region
                for sight in view.sights
                if sight.target_region == name
                and sight.observer_region != name
                and sight.reachable
                and sight.age_ns <= SIGHT_NS_MAX
            }
        )
        if seen:
            yield Finding(
                "link-lost",
                name,
                summary=f"the coordinator does not hear {name}, which {', '.join(seen)} still reach"
                + ("es" if len(seen) == 1 else ""),
                evidence=tuple(f"{each} reaches {name}" for each in seen),
            )


def _flapping(view: GroupView) -> Iterator[Finding]:
    for region in view.regions:
        if region.damped:
            yield Finding(
                "flapping",
                region.record.name,
                summary=f"{region.record.name} fell {region.penalty:.1f} times of late: it is the last to be elected",
                value=region.penalty,
                threshold=view.policy.flap_limit,
            )


def _agents_shifting(view: GroupView) -> Iterator[Finding]:
    """Agents avoid a region that is well by the coordinator's own judgement."""
    avoided: dict[str, list[str]] = {}
    for region in view.regions:
        for agent in region.agents:
            for target in agent.shunned if agent.connected else ():
                avoided.setdefault(target, []).append(f"{agent.region}/{agent.agent}")
    for region in view.regions:
        name = region.record.name
        by = avoided.get(name, [])
        if by and region.verdict.status in (RegionStatus.HEALTHY, RegionStatus.DEGRADED):
            yield Finding(
                "agents-shifting",
                name,
                summary=f"{', '.join(by[:3])}{' and others' if len(by) > 3 else ''} send reads for {name} elsewhere",
                value=float(len(by)),
                evidence=tuple(by[:20]),
            )


def _overrides(view: GroupView) -> Iterator[Finding]:
    for override in view.overrides:
        record = override.record
        kind = record.what.name.lower()
        if record.warned or override.remaining_ns <= min(
            OVERRIDE_WARNING_NS, (record.expire_wall_ns - record.start_wall_ns) // 10
        ):
            yield Finding(
                "override-expiring",
                record.region,
                kind,
                summary=f"the {kind}{f' of {record.region}' if record.region else ''} by "
                f"{record.owner or 'an operator'} ends soon: {record.reason}",
            )
        age_ns = record.expire_wall_ns - record.start_wall_ns - override.remaining_ns
        if record.what is OverrideKind.DRAIN and not record.drained and age_ns > view.policy.drain_time_ns:
            yield Finding(
                "drain-stuck",
                record.region,
                summary=f"the drain of {record.region} is not at its end"
                + (f": it waits for move {record.switchover_id}" if record.switchover_id else ""),
            )


# ---- the log


def _of_log(facts: Facts, view: GroupView, log: LogView) -> Iterator[Finding]:
    active = view.lease.active_region
    # While this process was away nobody could write: that is no silence of the region's.
    if log.stalled_ns >= 0 and facts.process.uptime_ns >= view.policy.stall_after_ns:
        yield Finding(
            "silent-stall",
            active,
            summary=f"{active or 'the active region'} has written nothing to the log for "
            f"{log.stalled_ns / SECOND_NS:.0f} s, not even a heartbeat",
            value=log.stalled_ns / SECOND_NS,
            threshold=view.policy.stall_after_ns / SECOND_NS,
        )
    if log.open_conflicts:
        yield Finding(
            "conflict-waiting",
            summary=f"{log.open_conflicts} conflict{'s wait' if log.open_conflicts > 1 else ' waits'} for a decision",
            value=float(log.open_conflicts),
        )
    if log.at_risk_count:
        yield Finding(
            "content-at-risk",
            summary=f"{log.at_risk_count} current version{'s are' if log.at_risk_count > 1 else ' is'} in fewer than "
            "two regions",
            value=float(log.at_risk_count),
        )
    for region in view.regions:
        if region.record.name != active and beyond(region.lag, view.policy.max_lag):
            yield _lagging(region.record.name, region.lag, view.policy.max_lag)
    for one in log.regions:
        if one.parked:
            agent, note = one.parked[0]
            yield Finding(
                "parked-entry",
                one.region,
                summary=f"{one.region} put {len(one.parked)} of the log's entries aside; {agent}: {note.reason}",
                value=float(len(one.parked)),
            )


def _lagging(region: str, lag: Lag, limits: Limits) -> Finding:
    if 0 <= limits.age_ns < lag.age_ns:
        value, bound, unit = lag.age_ns / SECOND_NS, limits.age_ns / SECOND_NS, " s"
    elif 0 <= limits.entries < lag.entries:
        value, bound, unit = float(lag.entries), float(limits.entries), " entries"
    else:
        value, bound, unit = float(lag.bytes), float(limits.bytes), " bytes"
    return Finding(
        "lag",
        region,
        summary=f"{region} is {value:,.4g}{unit} behind; more than {bound:,.4g}{unit} bars it from election",
        value=value,
        threshold=bound,
    )


def beyond(lag: Lag, limits: Limits) -> bool:
    """Whether any bound is exceeded; what is not known exceeds none."""
    return 0 <= limits.age_ns < lag.age_ns or 0 <= limits.entries < lag.entries or 0 <= limits.bytes < lag.bytes


# ---- what agents told


def _told(facts: Facts) -> Iterator[Finding]:
    found: dict[tuple[str, str], Finding] = {}
    for one in facts.told:
        notable = NOTABLE.get(one.kind)
        if notable is not None and one.age_ns <= notable.stands_ns:
            found.setdefault((notable.rule, one.region), Finding(notable.rule, one.region, summary=one.text))
    yield from found.values()


_OF_GROUP: tuple[Callable[[GroupView], Iterable[Finding]], ...] = (
    _coordinator_alone,
    _store_doubt,
    _awaiting_approval,
    _no_active,
    _region_down,
    _panic,
    _self_doubt,
    _link_lost,
    _flapping,
    _agents_shifting,
    _overrides,
)
