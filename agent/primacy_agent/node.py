"""One running agent: its lease holder, probes, peers and counters, and what the outside may ask of them."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from importlib.metadata import version

from primacy.v1 import agent_pb2
from primacy_wire.clock import read_now
from primacy_wire.instant import Now
from primacy_wire.log_messages import Entries, GroupMetrics, MetricsSnapshot, Progress, RetryParked, TransferPlan
from primacy_wire.messages import Directory, Lag, Load, Notice, Report, agent_key
from primacy_wire.route_counts import RouteCounter

from primacy_agent.config import AgentConfig
from primacy_agent.core.effects import KillHook, RunHook
from primacy_agent.core.lease import LeaseHolder
from primacy_agent.core.views import ActiveView
from primacy_agent.dataplane.making import make_outputs
from primacy_agent.hook_config import program_problem
from primacy_agent.hooks import HookRunner
from primacy_agent.kept_weights import KeptWeights
from primacy_agent.notices import Notices
from primacy_agent.probes.peers import Peers
from primacy_agent.probes.running import Probes
from primacy_agent.replication.parts import Replication
from primacy_agent.rows import Rows
from primacy_agent.session import Session
from primacy_agent.state import AgentState
from primacy_agent.tasks import Tasks

logger = logging.getLogger(__name__)

RELEASE_S = 2.0
SHOWN_SHARE = 4
"""The state file follows a renewed deadline once it moved by this part of what is left, not at every renewal."""


class Node:
    """The agent's parts, wired together. Everything runs on the event loop's thread."""

    def __init__(self, config: AgentConfig, state: AgentState) -> None:
        draw = random.Random()
        self.config = config
        self.started = read_now()
        self.version = version("primacy")
        self.key = agent_key(config.region, config.name)
        self.incarnation = secrets.token_hex(8)
        self.holder = LeaseHolder(
            config.region, config.name, self.incarnation, state.memory, config.hooks.settings(config.group)
        )
        self.routes = RouteCounter(self.started.mono_ns)
        self.notices = Notices(self.incarnation)
        self._state = state
        self._tasks = Tasks()
        self.outputs = make_outputs(
            config.dataplane, config.group, state.path, self.notices.tell, self.counted, self._tasks
        )
        self._kept = KeptWeights(state.path, config.group, config.region, self._tasks)
        self.rows = Rows(config.group, config.region, self.holder, self._kept, self.notices.tell)
        self._changed = asyncio.Event()
        """Set at the next change; every change brings a new one."""
        self._shown_deadline_ns = 0
        self._show_trouble = ""
        self.probes = Probes(config.all_probes, self._news, draw, self._tasks, state.rebooted)
        self.peers = Peers(
            config.group,
            config.region,
            self.key,
            config.peer_interval.seconds,
            config.peer_timeout.seconds,
            config.client_tls(),
            self._news,
            draw,
            self._tasks,
        )
        self.session = Session(config, self.holder, state.keep, self, self._tasks)
        self.replication = Replication(
            config,
            state.path,
            self.key,
            self.incarnation,
            self.session,
            self._addresses,
            lambda: max(self.holder.memory.heard_epoch, self.active().active_epoch),
            self.session.progress_soon,
            self._tasks,
        )
        self._hooks = HookRunner(config.hooks.argv(), state.path, self.session.post, self._tasks)

    # ---- life

    async def start(self) -> None:
        """Raises `ListenError`."""
        await self.outputs.start()
        self._look_around()
        self._rows_moved()
        self._hooks.end_leftover()
        self._show()
        self.probes.start()
        self.replication.metrics.read_from(self.probes, self.routes.counts)
        self.replication.start()
        self._tasks.start(self.session.run(), name="session")

    async def stop(self, release: bool) -> None:
        """Stop; without `release` what is held stays held until it runs out or the next life renews it."""
        if release:
            limit_s = RELEASE_S + (self.config.hooks.demote_timeout.seconds if self.config.hooks.on_demote else 0)
            await self.session.release("the agent was stopped with releaseOnStop", limit_s)
        self.session.stop()
        await self._tasks.stop()
        self._kept.close()
        await self.outputs.close()
        self.probes.close()
        await self.replication.close()

    async def failed(self) -> None:
        """Never returns; raises what a part raised that should not have."""
        await self._tasks.failed()

    # ---- what the session asks and tells

    def build_report(self, now: Now) -> Report:
        health = self.probes.health
        readings = self.probes.readings
        counts = self.routes.counts(now.mono_ns)
        report = self.holder.report(now, health, readings.load(), self.peers.sights(), counts, self.detail())
        return replace(report, lag=readings.lag(), wall_ns=now.wall_ns, shunned=self.rows.shift.shunned)

    def authority_changed(self) -> None:
        self._notify()
        self._show()
        view = self.active()
        logger.info(
            "authority",
            extra={"active": view.active, "phase": view.phase.name, "epoch": view.epoch, "why": view.reason},
        )

    def deadline_moved(self) -> None:
        self._notify()
        view = self.holder.active(read_now())
        if view.deadline_mono_ns - self._shown_deadline_ns > view.remaining_ns // SHOWN_SHARE:
            self._show()

    def run_hook(self, wanted: RunHook) -> None:
        self._hooks.run(wanted)

    def kill_hook(self, unwanted: KillHook) -> None:
        self._hooks.kill(unwanted)

    def log_link_up(self) -> None:
        self.replication.replicator.link_up()

    def log_received(self, message: Entries | RetryParked | TransferPlan | GroupMetrics) -> None:
        if isinstance(message, GroupMetrics):
            self.replication.metrics.heard(message)
        else:
            self.replication.replicator.receive(message)

    def build_progress(self) -> Progress:
        return self.replication.replicator.progress

    def is_behind(self) -> bool:
        return self.replication.replicator.is_behind

    def build_metrics(self, now: Now) -> MetricsSnapshot | None:
        return self.replication.metrics.due(now)

    def take_notices(self) -> list[Notice]:
        return self.notices.take()

    def _addresses(self) -> dict[str, str]:
        """Where the other agents of the group are."""
        directory = self.holder.directory
        return {peer.agent: peer.address for peer in directory.peers} if directory is not None else {}

    def rows_changed(self) -> None:
        self.rows.arrived()
        self._look_around()
        self._rows_moved()
        self._notify()  # Whom the coordinator believes active came with them.

    def directory_changed(self) -> None:
        self._look_around()
        if self.holder.directory is not None:
            self.replication.metrics.follow(self.holder.directory.membership)
        self._rows_moved()

    def _look_around(self) -> None:
        """Whom to look at: by the directory; until that is heard, at the endpoints that an earlier life knew."""
        directory = self.holder.directory
        if directory is None:
            directory = Directory(self.holder.memory.membership, (), self.rows.other_endpoints)
        self.peers.follow(directory, self.rows.own_endpoint)

    def _news(self) -> None:
        """Of the own health, or of whom this agent can reach: not to be kept until the next report is due, and not to
        wait for the coordinator's word."""
        self._rows_moved()
        self.session.report_soon()

    def _rows_moved(self) -> None:
        """Tell the data planes, if what is in force has changed, and the coordinator, if this agent has moved it."""
        shunned = self.rows.shift.shunned
        changed = self.rows.refresh(self.peers.all(), self.probes.health.state, lambda: self.session.connected)
        if changed and self.rows.traffic is not None:
            self.outputs.apply(self.rows.traffic)
            self._notify()
        if self.rows.shift.shunned != shunned:
            self.session.report_soon()

    def counted(self, target_region: str, traffic_class: int, outcome: str, count: int, length_ns: int = 0) -> None:
        """Requests from here that a data plane, or a client in the service's own process, says it sent in that time."""
        update = self.rows.update
        strategy = update.strategy if update is not None else 0
        key = (self.config.region, target_region, traffic_class, strategy, outcome)
        self.routes.add_batch(*key, count, read_now().mono_ns, length_ns)

    # ---- what others ask

    @property
    def load(self) -> Load:
        return self.probes.readings.load()

    @property
    def lag(self) -> Lag:
        return self.probes.readings.lag()

    def active(self) -> ActiveView:
        """Computed from the clocks at this ask."""
        view = self.holder.active(read_now())
        if view.remaining_ns or view.epoch >= view.active_epoch:
            return view
        return replace(view, epoch=view.active_epoch)  # The weights told of it before any answer did.

    def detail(self) -> agent_pb2.ReportDetail:
        """Probe results and what was measured, for readers of reports."""
        return agent_pb2.ReportDetail(
            probes=self.probes.results(),
            series=self.probes.series(),
            version=self.version,
            hooks=[
                agent_pb2.HookSetting(hook=kind.value, program=argv[0], problem=program_problem(argv[0]))
                for kind, argv in self.config.hooks.argv().items()
            ],
        )

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yields at once, and then after every change of authority, of its deadline, or of the weights."""
        while True:
            changed = self._changed
            yield
            await changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _show(self) -> None:
        view = self.active()
        try:
            self._state.show(view)
        except OSError as error:
            if str(error) != self._show_trouble:
                self._show_trouble = str(error)
                logger.warning("the state file cannot be written", extra={"reason": str(error)})
            return
        self._show_trouble = ""
        self._shown_deadline_ns = view.deadline_mono_ns
