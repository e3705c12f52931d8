"""Runs the configured probes and keeps what they found."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from primacy.v1 import agent_pb2
from primacy_wire.clock import read_now
from primacy_wire.messages import ServiceHealth

from primacy_agent.core.mapping import GAUGES
from primacy_agent.core.measuring import Readings, together
from primacy_agent.core.probing import Look, Verdicts, Watched
from primacy_agent.probe_config import (
    SHOWN_NAMES,
    AnyProbe,
    ExecProbe,
    GrpcProbe,
    HttpProbe,
    ProcessProbe,
    PrometheusProbe,
    TcpProbe,
)
from primacy_agent.probes.exposition import Measuring
from primacy_agent.probes.grpc_check import look_grpc
from primacy_agent.probes.looks import look_http, look_tcp
from primacy_agent.probes.page_looks import ExecLook, PrometheusLook
from primacy_agent.probes.processes import Watch, find
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

_SHOWN_AS = dict(zip(("request_rate", "capacity"), SHOWN_NAMES, strict=True))
_Looker = Callable[[float], Awaitable[Look]]
"""Looks once, within so many seconds."""


class Probes:
    """All probes of an agent. `changed` is called when the merged health did."""

    def __init__(
        self,
        configs: Sequence[AnyProbe],
        changed: Callable[[], None],
        draw: random.Random,
        tasks: Tasks,
        recovering: bool = False,
    ) -> None:
        """`recovering`: the machine was down before this life of the agent (see `Verdicts`)."""
        self._configs = configs
        self._changed = changed
        self._draw = draw
        self._verdicts = Verdicts([_watched(config) for config in configs], recovering)
        self._readings: dict[str, Readings] = {}
        self._watches: dict[str, Watch] = {}
        self._lookers = {config.name: self._looker(config) for config in configs}
        self._called = {config.name: asyncio.Event() for config in configs if config.smoke}
        """Set while a smoke probe shall look."""
        self._tasks = tasks
        self.health: ServiceHealth = self._verdicts.health()

    def start(self) -> None:
        self._call_smoke()
        for config in self._configs:
            run = self._run_smoke(config) if config.smoke else self._run(config)
            self._tasks.start(run, name=f"probe {config.name}")

    def close(self) -> None:
        """Let go of watched processes; the tasks are stopped by who gave them."""
        for watch in self._watches.values():
            watch.close()

    # ---- looking

    async def _run(self, config: AnyProbe) -> None:
        while True:
            self._take(config, await self._lookers[config.name](config.timeout.seconds))
            await self._pause(config)

    async def _run_smoke(self, config: AnyProbe) -> None:
        while True:
            await self._called[config.name].wait()
            recovery = self._verdicts.wanted(config.name)
            self._take(config, await self._lookers[config.name](config.timeout.seconds), recovery)
            await self._pause(config)

    async def _pause(self, config: AnyProbe) -> None:
        await asyncio.sleep(config.interval.seconds * (1 - config.jitter * self._draw.random()))

    def _looker(self, config: AnyProbe) -> _Looker:
        """What looks for this probe."""
        match config:
            case HttpProbe():
                return lambda timeout_s: look_http(config.url, timeout_s)
            case TcpProbe():
                return lambda timeout_s: look_tcp(config.address, timeout_s)
            case GrpcProbe():
                tls = config.tls.client_tls() if config.tls else None
                return lambda timeout_s: look_grpc(config.address, config.service, tls, timeout_s)
            case ProcessProbe():
                return lambda _: self._look_at_process(config)
            case ExecProbe():
                measuring = Measuring(config.mapped()) if config.series else None
                return ExecLook(config.argv, measuring, config.condition)
            case PrometheusProbe():
                return PrometheusLook(config.url, Measuring(config.mapped()), config.condition)
            case _:
                assert_never(config)

    async def _look_at_process(self, config: ProcessProbe) -> Look:
        if config.name in self._watches:
            return Look(True)  # The kernel tells when it ends.
        # All of /proc may have to be read: not on the loop that renews the lease.
        found = await asyncio.to_thread(find, config)
        if found is None:
            return Look(False, f"no process by {config.target}", certain=True)
        try:
            self._watches[config.name] = Watch(*found, ended=lambda: self._on_death(config, found[0]))
        except ProcessLookupError:
            return Look(False, f"process {found[0]} is gone", certain=True)
        except OSError as error:
            return Look(False, f"process {found[0]} cannot be watched: {error.strerror}")
        return Look(True)

    def _on_death(self, config: ProcessProbe, pid: int) -> None:
        self._watches.pop(config.name, None)
        self._take(config, Look(False, f"process {pid} has ended", certain=True))

    # ---- what they found

    def _take(self, config: AnyProbe, look: Look, recovery: int | None = None) -> None:
        before = self._verdicts.state(config.name)
        self._verdicts.take(config.name, look, read_now().mono_ns, recovery)
        earlier = self._readings.get(config.name)
        self._readings[config.name] = look.readings if look.good or earlier is None else look.readings.keeping(earlier)
        state = self._verdicts.state(config.name)
        if state.healthy is not before.healthy:
            logger.info(
                "a probe changed its verdict",
                extra={"probe": config.name, "healthy": state.healthy, "reason": state.message},
            )
        self._call_smoke()
        before_health, self.health = self.health, self._verdicts.health()
        # Words alone, like the last line of a failing program, can wait for the next report.
        if _counts(before_health) != _counts(self.health):
            self._changed()

    def _call_smoke(self) -> None:
        for name, called in self._called.items():
            if self._verdicts.wanted(name) is None:
                called.clear()
            else:
                called.set()

    @property
    def readings(self) -> Readings:
        """What the instances do together; only what the newest look of each probe said, but for their capacity."""
        return together(self._readings.values())

    def series(self) -> list[agent_pb2.Series]:
        """What is known of all instances, and what probes read under the operator's own names, each with its probe."""
        values = self.readings.values
        found = [
            agent_pb2.Series(name=_SHOWN_AS.get(name, name), value=values[name]) for name in GAUGES if name in values
        ]
        for config in self._configs:
            labels = {"probe": config.name} | ({"instance": config.instance} if config.instance else {})
            readings = self._readings.get(config.name, Readings())
            found += [agent_pb2.Series(name=name, labels=labels, value=value) for name, value in readings.own()]
        return found

    def results(self) -> list[agent_pb2.ProbeResult]:
        """Every probe as readers see it."""
        now_ns = read_now().mono_ns
        found = []
        for config in self._configs:
            state = self._verdicts.state(config.name)
            result = agent_pb2.ProbeResult(
                name=config.name,
                kind=config.kind,
                target=config.target,
                message=state.message,
                healthy=state.healthy,
            )
            result.latency.FromNanoseconds(state.latency_ns)
            if state.changed_ns:
                result.changed_age.FromNanoseconds(max(0, now_ns - state.changed_ns))
            found.append(result)
        return found


def _watched(config: AnyProbe) -> Watched:
    advisory = config.is_advisory and not config.smoke
    return Watched(config.name, config.instance, config.rise, config.fall, advisory, config.smoke)


def _counts(health: ServiceHealth) -> tuple[object, ...]:
    return health.state, health.healthy, health.total
