"""How many events a second the coordinator's core handles alone: no wire, no disk, no loop."""

from __future__ import annotations

import time

from primacy_coordinator.core import effects, events
from primacy_coordinator.core.group import Group
from primacy_coordinator.core.model import Loaded, Policy
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.messages import (
    PROTOCOL_VERSION,
    Accept,
    Hello,
    Lineage,
    Load,
    Membership,
    Offer,
    Phase,
    Report,
    ServiceHealth,
    ServiceState,
)

from bench.rows import Row

REGIONS = 10


class _Drive:
    """A group whose every batch is durable at once."""

    def __init__(self, agents: int) -> None:
        self.now = Now(SECOND_NS, 1_700_000_000 * SECOND_NS)
        self.group = Group("default", Loaded("store", "run", frozenset({"run"}), 1), self.now)
        self.holders: set[int] = set()
        self.take(self.group.start(self.now))
        self.post(events.SetPolicy(1, Policy()))
        for number in range(1, agents + 1):
            self.post(events.SessionOpened(number, _hello(number)))

    def post(self, event: events.Event) -> None:
        self.take(self.group.handle(self.now, event))

    def take(self, found: tuple[effects.Effect, ...]) -> None:
        for effect in found:
            if isinstance(effect, effects.Persist):
                self.post(events.Durable(effect.batch))
            elif isinstance(effect, effects.Send) and isinstance(effect.message, Offer):
                self.holders.add(effect.session)
                self.post(events.Heard(effect.session, Accept(effect.message.incarnation, effect.message.epoch)))


def _hello(number: int) -> Hello:
    return Hello(
        "default",
        f"r{number % REGIONS}",
        f"a{number}",
        f"life-{number}",
        "host",
        PROTOCOL_VERSION,
        Lineage(),
        0,
        Membership(),
        f"10.0.0.1:{number}",
    )


def _report(agent: int, number: int, epoch: int) -> Report:
    return Report(
        f"life-{agent}",
        number,
        epoch,
        epoch > 0,
        Phase.STANDBY,
        epoch,
        Lineage("store", "run"),
        1,
        0,
        number - 1,
        "",
        ServiceHealth(ServiceState.UP, 1, 1),
        Load(100.0, 0.0, 5_000_000, 0.5, 1000.0),
    )


def run(agents: int = 1000, rounds: int = 30) -> list[Row]:
    """Reports of a settled group, ticks included, per second of CPU."""
    drive = _Drive(agents)
    took_ns = 0
    for number in range(1, rounds + 1):
        drive.now = drive.now.plus(SECOND_NS)
        reports = [
            events.Heard(agent, _report(agent, number, 1 if agent in drive.holders else 0))
            for agent in range(1, agents + 1)
        ]
        began_ns = time.process_time_ns()
        for report in reports:
            drive.post(report)
        drive.post(events.TimePassed())
        if number > rounds // 3:
            took_ns += time.process_time_ns() - began_ns
    counted = agents * (rounds - rounds // 3)
    return [Row(f"core: reports handled, {agents} agents", counted / (took_ns / 1e9), "per CPU second")]
