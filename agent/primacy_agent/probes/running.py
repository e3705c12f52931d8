"""Runs the configured probes and keeps their states."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from primacy.v1 import agent_pb2
from primacy_wire.clock import read_now
from primacy_wire.messages import ServiceHealth

from primacy_agent.config import ProbeConfig, ProbeKind
from primacy_agent.core.probing import Look, Probe, ProbeState, merge
from primacy_agent.probes.looks import look_http, look_tcp
from primacy_agent.probes.processes import Watch, find
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)


class Probes:
    """All probes of an agent. `changed` is called when the merged health did."""

    def __init__(
        self, configs: list[ProbeConfig], changed: Callable[[], None], draw: random.Random, tasks: Tasks
    ) -> None:
        self._configs = configs
        self._changed = changed
        self._draw = draw
        self._states = {config.name: ProbeState() for config in configs}
        self._watches: dict[str, Watch] = {}
        self._tasks = tasks
        self.health: ServiceHealth = self._merged()

    def start(self) -> None:
        for config in self._configs:
            self._tasks.start(self._run(config), name=f"probe {config.name}")

    def close(self) -> None:
        """Let go of watched processes; the tasks are stopped by who gave them."""
        for watch in self._watches.values():
            watch.close()

    async def _run(self, config: ProbeConfig) -> None:
        while True:
            look = await self._look(config)
            self._take(config, look)
            pause_s = config.interval.seconds * (1 - config.jitter * self._draw.random())
            await asyncio.sleep(pause_s)

    async def _look(self, config: ProbeConfig) -> Look:
        match config.kind:
            case ProbeKind.HTTP:
                return await look_http(config.url, config.timeout.seconds)
            case ProbeKind.TCP:
                return await look_tcp(config.address, config.timeout.seconds)
            case ProbeKind.PROCESS:
                return await self._look_at_process(config)

    async def _look_at_process(self, config: ProbeConfig) -> Look:
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

    def _on_death(self, config: ProbeConfig, pid: int) -> None:
        self._watches.pop(config.name, None)
        self._take(config, Look(False, f"process {pid} has ended", certain=True))

    def _take(self, config: ProbeConfig, look: Look) -> None:
        before = self._states[config.name]
        state = before.after(look, config.rise, config.fall, read_now().mono_ns)
        self._states[config.name] = state
        if state.healthy is not before.healthy:
            logger.info(
                "a probe changed its verdict",
                extra={"probe": config.name, "healthy": state.healthy, "reason": state.message},
            )
        health = self._merged()
        if health != self.health:
            self.health = health
            self._changed()

    def _merged(self) -> ServiceHealth:
        return merge(Probe(c.name, c.instance, self._states[c.name]) for c in self._configs)

    def results(self) -> list[agent_pb2.ProbeResult]:
        """Every probe as readers see it."""
        now_ns = read_now().mono_ns
        found = []
        for config in self._configs:
            state = self._states[config.name]
            result = agent_pb2.ProbeResult(
                name=config.name,
                kind=config.kind.value,
                target=config.target,
                message=state.message,
                healthy=state.healthy,
            )
            result.latency.FromNanoseconds(state.latency_ns)
            if state.changed_ns:
                result.changed_age.FromNanoseconds(max(0, now_ns - state.changed_ns))
            found.append(result)
        return found
