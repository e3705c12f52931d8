"""What operators do in the middle of it all: moves, drains, cordons, pauses, pins, and what they decide late or never.

Every command goes the way of a real one: it may be refused, and then changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from primacy_coordinator.core import events
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from tests.simulation.world.faults import FAULTS, fault, set_healthy

if TYPE_CHECKING:
    from tests.simulation.world.world import World

COMMANDS = (
    "drain", "drain_all", "drain_amid", "undrain", "cordon", "pin", "pause_elections", "pause_amid", "decide",
)  # fmt: skip
"""What they do beside moving the lease; names in FAULTS."""


def _end(world: World) -> int:
    """Some seconds from now, by the coordinator's wall clock."""
    return world.coordinator.now().wall_ns + world.draw.randint(3, 25) * SECOND_NS


def _reason(world: World) -> str:
    """Every setting of an override has its own."""
    return f"work {world.next_connection()}"


@fault
def move(world: World) -> None:
    target = world.draw.choice([*world.regions, ""])
    forced = world.draw.random() < 0.4
    world.coordinator.ask(events.MoveActive(0, target, forced=forced))


@fault
def move_amid(world: World) -> None:
    """A planned move, and the coordinator dies in the middle of it."""
    world.count("crash during a move")
    world.coordinator.ask(events.MoveActive(0, world.draw.choice([*world.regions, ""])))
    world.after(world.draw.randint(1, 300) * MILLISECOND_NS, "fault", FAULTS["crash"], world)


@fault
def drain(world: World) -> None:
    rules = ("NO_TARGET",) if world.draw.random() < 0.2 else ()
    drain_region(world, world.draw.choice(world.regions), rules)


def drain_region(world: World, region: str, rules: tuple[str, ...] = ()) -> None:
    world.coordinator.ask(events.DrainRegion(0, region, _reason(world), "ops", _end(world), override_rules=rules))


@fault
def drain_all(world: World) -> None:
    """Somebody insists on draining everything."""
    for region in world.regions:
        drain_region(world, region, ("MIN_UNDRAINED", "NO_TARGET"))


@fault
def undrain(world: World) -> None:
    world.coordinator.ask(events.UndrainRegion(0, world.draw.choice(world.regions), "ops"))


@fault
def drain_amid(world: World) -> None:
    """The active region fails, or is moved away from, and in the middle of that somebody drains a region."""
    active = world.known() or world.draw.choice(world.regions)
    world.count("drain during a move")
    if world.draw.random() < 0.5:
        world.coordinator.ask(events.MoveActive(0, ""))
        world.after(world.draw.randint(1, 300) * MILLISECOND_NS, "fault", _drain_some, world)
    else:
        set_healthy(world, active, False)
        world.after(world.draw.randint(8, 15) * SECOND_NS, "fault", set_healthy, world, active, True)
        world.after(world.draw.randint(1, 4000) * MILLISECOND_NS, "fault", _drain_some, world)


def _drain_some(world: World) -> None:
    drain_region(world, world.draw.choice(world.regions))


@fault
def cordon(world: World) -> None:
    region = world.draw.choice(world.regions)
    if world.draw.random() < 0.3:
        world.coordinator.ask(events.UncordonRegion(0, region, "ops"))
    else:
        world.coordinator.ask(events.CordonRegion(0, region, _reason(world), "ops", _end(world)))


@fault
def pin(world: World) -> None:
    client = world.draw.choice([*world.regions, ""])
    if world.draw.random() < 0.3:
        world.coordinator.ask(events.UnpinWeights(0, client, "ops"))
        return
    one, other = world.draw.sample(world.regions, 2)
    share = world.draw.choice([0.0, 0.3, 0.5])
    shares = ((one, share), (other, 1 - share))
    world.coordinator.ask(events.PinWeights(0, client, shares, _reason(world), "ops", _end(world)))


@fault
def pause_elections(world: World) -> None:
    if world.draw.random() < 0.3:
        world.coordinator.ask(events.ResumeElection(0, "ops"))
    else:
        world.coordinator.ask(events.PauseElection(0, _reason(world), "ops", _end(world)))


@fault
def pause_amid(world: World) -> None:
    """A pause that ends in the middle of an incident: the active region fails soon after it began, and stays so."""
    active = world.known() or world.draw.choice(world.regions)
    end_ns = world.coordinator.now().wall_ns + world.draw.randint(4, 10) * SECOND_NS
    world.count("pause that ends amid an incident")
    world.coordinator.ask(events.PauseElection(0, _reason(world), "ops", end_ns))
    world.after(world.draw.randint(0, 3) * SECOND_NS, "fault", set_healthy, world, active, False)
    world.after(world.draw.randint(12, 25) * SECOND_NS, "fault", set_healthy, world, active, True)


@fault
def decide(world: World) -> None:
    """An operator sees a move under way, and approves or cancels it; most are never seen by anybody."""
    group = world.coordinator.group
    move = group.view(world.coordinator.now()).failover if group is not None else None
    if move is None:
        return
    if world.draw.random() < 0.5:
        world.coordinator.ask(events.ApproveFailover(0, move.id, "ops"))
    else:
        world.coordinator.ask(events.CancelFailover(0, move.id, "ops"))
