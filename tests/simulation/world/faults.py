"""Faults of links, processes, services, clocks and the store. Each draws its own measure from the world."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from primacy_agent.core.events import ReleaseNow
from primacy_coordinator.core import events
from primacy_coordinator.core.model import PolicyRecord
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.messages import Lag

from tests.simulation.world.coordinator import NAME, Disk
from tests.simulation.world.machines import Machine
from tests.simulation.world.options import TTLS_NS

if TYPE_CHECKING:
    from tests.simulation.world.world import World

Fault = Callable[["World"], None]
FAULTS: dict[str, Fault] = {}
OTHERS = ("another group", "a third group")
"""Groups of the same coordinator that fail over now and then, and hold the brake meanwhile."""
OTHERS_NS_MAX = 8 * SECOND_NS


def fault(work: Fault) -> Fault:
    FAULTS[work.__name__] = work
    return work


def _links(cuts: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{source} -> {target}" for source, target in sorted(cuts))


# ---- links


def cut_links(world: World, cuts: set[tuple[str, str]], length_ns: int) -> None:
    world.network.cuts |= cuts
    world.note("fault", f"cut {_links(cuts)}")
    world.after(length_ns, "fault", _mend, world, frozenset(cuts))


def _mend(world: World, cuts: frozenset[tuple[str, str]]) -> None:
    world.network.cuts -= cuts
    world.note("fault", f"mended {_links(cuts)}")


@fault
def cut(world: World) -> None:
    """A region loses the coordinator, in one direction or both, and perhaps its peers, for a while."""
    machines = world.machines_of(world.draw.choice(world.regions))
    if world.draw.random() < 0.3:
        machines = machines[:1]
    ways = world.draw.choice([("out",), ("in",), ("out", "in"), ("out", "in")])
    cuts = set()
    for machine in machines:
        cuts |= {(machine.key, NAME)} if "out" in ways else set()
        cuts |= {(NAME, machine.key)} if "in" in ways else set()
    if world.draw.random() < 0.5:
        cuts |= {(m.key, o.key) for m in machines for o in world.machines if o.region != m.region}
    world.count("one-way cut" if len(ways) == 1 else "cut")
    cut_links(world, cuts, world.draw.randint(SECOND_NS, 20 * SECOND_NS))


@fault
def sessions(world: World) -> None:
    """The coordinator's own link breaks: it loses most sessions, or all, while the regions reach one another."""
    machines = [machine for machine in world.machines if machine is not world.late]
    some = world.draw.sample(machines, world.draw.randint(len(machines) // 2 + 1, len(machines)))
    world.count("most sessions lost")
    cut_links(
        world, {link for m in some for link in ((m.key, NAME), (NAME, m.key))}, world.draw.randint(2, 15) * SECOND_NS
    )


# ---- processes


@fault
def late(world: World) -> None:
    if world.late is not None:
        machine, world.late = world.late, None
        world.boot(machine)
        world.count("late agent")


@fault
def pause(world: World) -> None:
    length_ns = world.draw.randint(SECOND_NS // 2, 15 * SECOND_NS)
    if world.draw.random() < 0.3 and world.coordinator.group is not None:
        world.count("coordinator pause")
        world.note("fault", f"the coordinator stands still for {length_ns / SECOND_NS:.1f} s")
        world.coordinator.paused_since = world.coordinator.paused_since or world.time_ns
        world.coordinator.paused_until = world.time_ns + length_ns
    elif world.lives:
        world.count("agent pause")
        life = world.draw.choice(world.lives)
        life.paused_until = world.time_ns + length_ns
        world.note("fault", f"{life.name} {life.incarnation} stands still for {length_ns / SECOND_NS:.1f} s")


@fault
def restart(world: World) -> None:
    if not world.lives:
        return
    life = world.draw.choice(world.lives)
    world.kill(life)
    world.count("agent restart")
    world.after(world.draw.randint(0, 6 * SECOND_NS), life.name, _reboot, world, life.machine)


def _reboot(world: World, machine: Machine) -> None:
    if not any(life.name == machine.key for life in world.lives):
        world.boot(machine)


@fault
def leave(world: World) -> None:
    """An agent gives up what it holds, by itself."""
    if world.lives:
        life = world.draw.choice(world.lives)
        world.count("release by itself")
        life.run(life.post, ReleaseNow("it leaves"))


@fault
def twin(world: World) -> None:
    """Somebody copies a machine, state folder and all: two processes with one identity, each on its own clock."""
    if world.lives:
        world.count("twin")
        original = world.draw.choice(world.lives).machine
        copy = Machine(original.region, original.agent, world.clock())
        copy.memory = original.memory
        copy.promoted_epoch, copy.is_touched = original.promoted_epoch, original.is_touched
        world.boot(copy)


@fault
def crash(world: World) -> None:
    if world.coordinator.group is not None:
        world.coordinator.crash()
        world.after(world.draw.randint(0, 12 * SECOND_NS), NAME, restart_coordinator, world)


def restart_coordinator(world: World) -> None:
    if world.coordinator.group is None:
        world.coordinator.paused_until = world.coordinator.paused_since = 0
        world.coordinator.start()


# ---- services


@fault
def health(world: World) -> None:
    region = world.draw.choice(world.regions)
    for machine in world.machines_of(region):
        machine.healthy = not machine.healthy or world.draw.random() < 0.3
    world.count("service fault")


@fault
def flap(world: World) -> None:
    """A service goes down and comes back, over and over."""
    region = world.draw.choice(world.regions)
    half_ns = world.draw.choice([1500, 3000, 5000]) * MILLISECOND_NS
    world.count("flapping service")
    for number in range(world.draw.randint(4, 8)):
        world.after(number * half_ns, "fault", set_healthy, world, region, number % 2 == 1)
    world.after(8 * half_ns, "fault", set_healthy, world, region, True)


def set_healthy(world: World, region: str, healthy: bool) -> None:
    for machine in world.machines_of(region):
        machine.healthy = healthy
    world.note("fault", f"the service of {region} {'works' if healthy else 'is down'}")


@fault
def double(world: World) -> None:
    """Two regions are lost at once."""
    world.count("double loss")
    length_ns = world.draw.randint(4, 15) * SECOND_NS
    for region in world.draw.sample(world.regions, 2):
        set_healthy(world, region, False)
        world.after(length_ns, "fault", set_healthy, world, region, True)


@fault
def blind(world: World) -> None:
    """The probes of a region fail, while its users and its peers reach the service."""
    region = world.draw.choice(world.regions)
    world.count("probes fail alone")
    set_probes(world, region, False)
    world.after(world.draw.randint(3, 12) * SECOND_NS, "fault", set_probes, world, region, True)


def set_probes(world: World, region: str, passing: bool) -> None:
    for machine in world.machines_of(region):
        machine.probes_pass = passing
    world.note("fault", f"the probes of {region} {'pass' if passing else 'fail'}")


@fault
def limp(world: World) -> None:
    """Half of a region's instances fail, or are back."""
    for machine in world.machines_of(world.draw.choice(world.regions)):
        machine.instances_well = 1 if machine.instances_well == machine.instances else machine.instances
    world.count("half of the instances")


@fault
def lag(world: World) -> None:
    """The data of a region falls behind the active one's, or catches up."""
    region = world.draw.choice(world.regions)
    age_ns = world.draw.choice([0, 0, SECOND_NS, 4 * SECOND_NS, 30 * SECOND_NS])
    for machine in world.machines_of(region):
        machine.lag = Lag(age_ns, age_ns // MILLISECOND_NS, age_ns // 1000)
    world.count("lag")
    world.note("fault", f"the data of {region} is {age_ns / SECOND_NS:g} s behind")


@fault
def others(world: World) -> None:
    """Another group of the coordinator fails over, and holds a permit of the brake for a while."""
    name = world.draw.choice(OTHERS)
    world.count("another group fails over")
    world.brake.ask(
        name, lambda: world.after(world.draw.randint(1, OTHERS_NS_MAX), "fault", world.brake.give_back, name)
    )


# ---- the log


@fault
def write(world: World) -> None:
    """Services write a few documents; some at the same time, some while they are cut off."""
    for life in world.draw.sample(world.lives, min(len(world.lives), world.draw.randint(1, 3))):
        key = world.draw.choice(("app.yaml", "limits.yaml"))
        number = world.next_connection()
        content = f"{world.draw.choice('abcd')}: {number}\n".encode()
        life.run(life.copy.write, key, content)


@fault
def full(world: World) -> None:
    """The disk of a region is full, or has room again."""
    for machine in world.machines_of(world.draw.choice(world.regions)):
        machine.shelf.fails = world.draw.choice([0.0, 0.0, 0.5, 1.0])
    world.count("full disk")


# ---- the coordinator's clock, policy and store


@fault
def ttl(world: World) -> None:
    set_ttl(world, world.draw.choice(TTLS_NS))


def set_ttl(world: World, ttl_ns: int) -> None:
    world.count("ttl longer" if ttl_ns > world.policy.lease_ttl_ns else "ttl shorter")
    world.policy = replace(world.policy, lease_ttl_ns=ttl_ns)
    world.coordinator.ask(events.SetPolicy(0, world.policy))


@fault
def ttl_amid(world: World) -> None:
    """Leases become shorter, and while longer ones are out the active region is cut off and the coordinator dies."""
    world.count("shorter leases amid a crash")
    set_ttl(world, TTLS_NS[2])
    world.after(world.draw.randint(2, 6) * SECOND_NS, "fault", _shorten, world)


def _shorten(world: World) -> None:
    set_ttl(world, TTLS_NS[1])
    active = world.known()
    links = {link for m in world.machines_of(active) for link in ((m.key, NAME), (NAME, m.key))}
    if world.draw.random() < 0.5:
        world.after(world.draw.randint(0, 3000) * MILLISECOND_NS, "fault", crash, world)
    world.after(
        world.draw.randint(0, 2000) * MILLISECOND_NS,
        "fault",
        cut_links,
        world,
        links,
        world.draw.randint(8, 15) * SECOND_NS,
    )


@fault
def wall(world: World) -> None:
    """Somebody sets a clock."""
    clocks = [m.clock for m in world.machines] + [world.coordinator.clock]
    clock = world.draw.choice(clocks)
    if clock is world.coordinator.clock:
        seen = world.coordinator.group is not None and not world.coordinator.paused_since
        world.coordinator.watch.ends.clock_stepped(seen)
    clock.wall_ns += world.draw.randint(-3600, 3600) * SECOND_NS
    world.count("wall clock step")
    world.check_active("a step of a wall clock")


@fault
def store(world: World) -> None:
    """Copies of the store are made, and put back; or it is lost."""
    what = world.draw.random()
    if world.backup is None or what < 0.4:
        world.backup = world.coordinator.disk.copy()
        return
    world.coordinator.crash()
    world.coordinator.watch.ends.forget()
    if what < 0.8:
        world.count("store put back")
        world.coordinator.disk = world.backup.copy()
    else:
        world.count("store lost")
        world.coordinator.disk = Disk(f"store-{world.next_connection()}")
        world.coordinator.disk.apply((PolicyRecord(world.policy),))
    known = world.coordinator.disk.lease.epoch
    world.forgotten_above = known if world.forgotten_above is None else min(known, world.forgotten_above)
    world.after(world.draw.randint(0, 8 * SECOND_NS), NAME, restart_coordinator, world)
    world.after(world.draw.randint(0, 80 * SECOND_NS), "fault", _recover, world)


def _recover(world: World) -> None:
    """The operator has had enough, whoever is missing."""
    world.coordinator.ask(events.Recover(0, confirm=True, owner="ops"))
