"""The end of a schedule: everything heals, and then somebody becomes active and everything comes to rest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from primacy_coordinator.core import events
from primacy_coordinator.core.model import RegionStatus
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lag

from tests.simulation.world.faults import OTHERS, restart_coordinator
from tests.simulation.world.network import FAIR

if TYPE_CHECKING:
    from tests.simulation.world.world import World

SETTLED_NS_MAX = 60 * SECOND_NS
"""Within so long after the healing one region is active; a doubt about the store has its own wait before that."""
QUIET_NS_MAX = 40 * SECOND_NS
"""Within so long after that everything that was put off, held down or ramped is over."""
DOUBTS_MAX = 3


def heal(world: World) -> None:
    """No more faults; everybody is there, and hears everybody."""
    world.options = replace(world.options, weather=FAIR, faults=(), refuse=0.0, slow_disk=0.0)
    world.timeline.forget(world, "fault")
    world.hooks = world.hooks.mended() if world.hooks is not None else None
    world.network.cuts.clear()
    # What is put off until a process goes on comes at the instant that was set, so a pause runs to its end.
    still_ns = max((life.paused_until - world.time_ns for life in world.lives), default=0)
    world.late_ns = max(world.network.weather.late_ns if world.network.weather.late else 0, still_ns)
    world.network.weather = FAIR
    world.coordinator.paused_until = min(world.coordinator.paused_until, world.time_ns)
    for machine in world.machines:
        machine.healthy = machine.probes_pass = True
        machine.instances_well, machine.lag = machine.instances, Lag(0, 0, 0) if machine.lag != Lag() else machine.lag
        machine.shelf.fails = 0.0
    for name in OTHERS:
        world.brake.give_back(name)
    _mend_processes(world)
    restart_coordinator(world)


def _mend_processes(world: World) -> None:
    """The state folder is locked: a process that is refused for good makes room for the next."""
    for machine in world.machines:
        alive = [life for life in world.lives if life.name == machine.key and not life.holder.superseded]
        if machine is not world.late and not alive:
            for life in [life for life in world.lives if life.machine is machine]:
                world.kill(life)
            world.boot(machine)


def expect_settled(world: World) -> None:
    """Liveness: one region becomes active, the coordinator agrees, and it stays so."""
    end_ns = world.time_ns + SETTLED_NS_MAX + _overrides_ns(world)
    doubts: set[str] = set()
    # What was sent before the healing may still be on its way, and may raise a doubt.
    world.run_for(max(3 * SECOND_NS, world.late_ns))
    while not _is_settled(world):
        if world.time_ns >= end_ns:
            world.fail("liveness", f"{world.active()} active, coordinator says {world.known()}")
        world.run_for(SECOND_NS)
        _mend_processes(world)
        group = world.coordinator.group
        assert group is not None
        plan = group.recovery_plan(world.coordinator.now())
        if plan.needed:
            if not plan.confirmed:
                world.coordinator.ask(events.Recover(0, confirm=True, owner="ops"))
            if plan.reason not in doubts and len(doubts) < DOUBTS_MAX:
                doubts.add(plan.reason)
                end_ns = world.time_ns + 5 * plan.wait_ns // 4 + SETTLED_NS_MAX
    _expect_quiet(world)


def _overrides_ns(world: World) -> int:
    group = world.coordinator.group
    return (
        0 if group is None else world.coordinator.watch.ends.remaining_ns(group._state, world.coordinator.now().mono_ns)
    )


def _expect_quiet(world: World) -> None:
    """What was put off, held down, drained or ramped comes to its end, and one region stays active."""
    end_ns = world.time_ns + QUIET_NS_MAX
    quiet = False
    while not quiet:
        world.coordinator.ask(events.RetryEntry(0))
        world.run_for(5 * SECOND_NS)
        _mend_processes(world)
        what = _unrest(world)
        quiet = not what and _is_settled(world)
        if not quiet and world.time_ns >= end_ns:
            says = f"{world.active()} active, coordinator says {world.known()}"
            world.fail("liveness", f"not quiet: {what or 'not stable'}; {says}")


def _unrest(world: World) -> str:
    """What is not as it shall be when nothing has happened for long; empty: nothing."""
    assert world.coordinator.group is not None
    now = world.coordinator.now()
    view = world.coordinator.group.view(now)
    sick = [r.record.name for r in view.regions if r.verdict.status is not RegionStatus.HEALTHY]
    if view.failover is not None:
        return f"{view.failover.id} is {view.failover.state.name}"
    if sick or view.overrides or view.self_doubt is not None or view.weights.panic:
        return f"{sick} not well, {len(view.overrides)} overrides, {view.self_doubt}"
    if difference := copies_differ(world):
        return difference
    if world.brake.moving or world.brake.waiting:
        return f"the brake has {world.brake.moving} permits out, {world.brake.waiting} wait"
    return ""


def copies_differ(world: World) -> str:
    """What of the log is not everywhere, or was lost; empty: nothing (I3, I5)."""
    assert world.coordinator.group is not None
    log = world.coordinator.group._state.log
    wanted = {name: entry.id for name, entry in log.current.items()}
    connected = {session.key for session in world.coordinator.group._state.sessions.values()}
    for life in world.lives:
        if life.holder.superseded or life.name not in connected:
            continue
        memory, shelf = life.copy.replica.memory, life.machine.shelf
        if shelf.queue:
            return f"{life.name} still waits to submit {len(shelf.queue)} writes"
        if memory.parked:
            return f"{life.name} has parked {sorted(memory.parked)}"
        if memory.received < log.head - 1 or {name: entry.id for name, entry in shelf.force.items()} != wanted:
            return f"{life.name} is at {memory.received} of {log.head}, or has something else in force"
    rewound = world.counts["store put back"] or world.counts["store lost"]
    for write in sorted(world.acknowledged) if not rewound else ():
        if write not in log.ids and write not in log.conflict_of:
            return f"{write} was acknowledged and is lost"
    for conflict in log.conflicts.values():
        written = world.written.get(conflict.incoming.id)
        # An older store does not know what was merged: it comes back under the id of the write that it was merged with.
        if written is not None and not rewound and conflict.incoming.content != written.content:
            return f"{conflict.id} does not hold what was written"
    return ""


def _is_settled(world: World) -> bool:
    group = world.coordinator.group
    active = world.active()
    if group is None or len(active) != 1:
        return False
    now = world.coordinator.now()
    lease = group.lease_view(now)
    # In the wait after a start a lease may lapse that will be given back.
    return lease.active_region in active and not lease.wait_ns and not group.recovery_plan(now).needed
