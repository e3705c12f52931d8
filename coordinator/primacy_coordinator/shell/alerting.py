"""Runs the alerts of every group: hands looks to the pure rules, then journals, sends and keeps what came of them.

1. `look` is called once a second for each group by whoever watches them. It is quick, and waits for nothing.
2. Nothing is decided before what an earlier life of the process knew is loaded, or cannot be (`LOAD_S_MAX`).
3. What changes is kept at the end of the look: a crash in between may tell a sink the same thing twice, never less.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.messages import Notice

from primacy_coordinator.core.effects import Journal
from primacy_coordinator.core.events import Noted
from primacy_coordinator.core.model import Policy
from primacy_coordinator.core.monitor.alerts import builtin, facts
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.book import Book, Moment, Transition, acknowledge, step
from primacy_coordinator.core.monitor.alerts.conditions import Conditions, Measured
from primacy_coordinator.core.monitor.alerts.evaluate import AlertState
from primacy_coordinator.core.monitor.alerts.figures import Figures
from primacy_coordinator.core.monitor.alerts.finding import Finding, Looked, together
from primacy_coordinator.core.monitor.alerts.rules import Rule, rules_of
from primacy_coordinator.core.monitor.slots import Explosion
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.core.views import ExplanationView, GroupView, LogView
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.sinks.sink import Sink
from primacy_coordinator.store.alert_book import Kept, decode_book, encode_book
from primacy_coordinator.store.api import AlertStore, StoreError
from primacy_coordinator.store.codec import BadRecord

logger = logging.getLogger(__name__)

LOAD_S_MAX = 10.0
KEEP_EVERY_NS = 15 * SECOND_NS
"""How often lengths that only grow are kept, while there are alerts."""
DROPPED_NS = 300 * SECOND_NS
"""How long values that were left out count as `lately`."""


class Watched(Protocol):
    """What a look brings of one group."""

    @property
    def runner(self) -> Runner: ...

    @property
    def monitor(self) -> Monitored: ...

    @property
    def log(self) -> LogView | None: ...


class Monitored(Figures, Protocol):
    """What is measured of it."""

    @property
    def prospects(self) -> Mapping[str, ExplanationView]:
        """Region -> the election if it died."""
        ...

    @property
    def dropped(self) -> int:
        """Values that were left out so far."""
        ...

    @property
    def explosions(self) -> Sequence[Explosion]:
        """Who measured too many series lately."""
        ...


class Seen(Protocol):
    @property
    def view(self) -> GroupView: ...


@dataclass(slots=True)
class _Group:
    runner: Runner
    book: Book = field(default_factory=Book)
    rules: Mapping[str, Rule] = field(default_factory=lambda: rules_of((), ()))
    policy: Policy | None = None
    conditions: Conditions = field(default_factory=Conditions)
    ready: bool = False
    loading: asyncio.Task[None] | None = None
    began_ns: int = 0
    looked_ns: int = 0
    kept_ns: int = 0
    dirty: bool = False
    dropped: int = -1
    """Values left out, as of the last look;"""
    dropped_before: int = 0
    """as of when it began to grow;"""
    dropped_ns: int = 0
    """and when it last grew."""
    notices: dict[tuple[str, str], tuple[str, str, int] | None] = field(default_factory=dict)
    """(kind, life of an agent) -> (region, text, mono_ns); None: it was taken back before what was kept is loaded."""


class Alerting:
    """All groups. Everything here runs on the event loop's thread."""

    def __init__(self, coordinator: Coordinator, store: AlertStore) -> None:
        self.sinks: tuple[Sink, ...] = ()
        self.evaluation_ns = 0
        """How long looks took so far,"""
        self.evaluations = 0
        """and how many there were."""
        self._coordinator = coordinator
        self._store = store
        self._groups: dict[str, _Group] = {}

    def start(self, sinks: tuple[Sink, ...]) -> None:
        """`told` below must be what the sinks call when they told somebody something."""
        self.sinks = sinks
        for sink in sinks:
            sink.start()

    async def close(self) -> None:
        """Keeps how things are. Sinks stop; what they have yet to say is said by the next life."""
        for sink in self.sinks:
            await sink.close()
        loading = [group.loading for group in self._groups.values() if group.loading is not None]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        for group in self._groups.values():
            if group.ready:
                self._keep(group, read_now())

    def told(self, group: str) -> None:
        """A sink told somebody something about the group."""
        found = self._groups.get(group)
        if found is not None:
            found.dirty = True

    # ---- looking

    def begin(self, runner: Runner) -> None:
        """What agents tell of the group from now on is noted."""
        self._group(runner)

    def look(self, watched: Watched, now: Now, seen: Seen | None) -> None:
        """One look at one group; `seen` None: there was nothing to be seen."""
        group = self._group(watched.runner)
        if not group.began_ns:
            group.began_ns = group.looked_ns = now.mono_ns
        if not group.ready:
            return
        given = self._facts(group, watched, now, seen)
        if given.view is not None and given.view.policy is not group.policy:
            group.policy = given.view.policy
            group.rules = rules_of(given.view.policy.alert_rules, given.view.policy.slos)
        looked = builtin.look(given)
        if given.view is not None:
            looked = together(looked, self._conditions(group, watched, given.view, given.process.uptime_ns, now))
        moment = Moment(
            now.mono_ns - group.looked_ns, now.wall_ns, watched.runner.name, self._owed(watched.runner.name)
        )
        group.looked_ns = now.mono_ns
        group.book, changed = step(group.book, group.rules, looked, moment)
        for transition in changed:
            _journal(group.runner, transition)
        group.dirty = group.dirty or bool(changed)
        for sink in self.sinks:
            sink.put(watched.runner.name, group.book.alerts)
        live = any(alert.state is not AlertState.RESOLVED for alert in group.book.alerts)
        if group.dirty or (live and now.mono_ns - group.kept_ns >= KEEP_EVERY_NS):
            self._keep(group, now)
        self.evaluations += 1
        self.evaluation_ns += read_now().mono_ns - now.mono_ns

    def forget(self, name: str) -> None:
        """The group is deleted."""
        group = self._groups.pop(name, None)
        if group is not None and group.loading is not None:
            group.loading.cancel()
        for sink in self.sinks:
            sink.forget(name)
        self._store.save_alerts(name, "")

    def _group(self, runner: Runner) -> _Group:
        group = self._groups.get(runner.name)
        if group is None or group.runner is not runner:
            group = self._groups[runner.name] = _Group(runner)
            runner.onlookers.append(partial(_notice, group))
            group.loading = asyncio.get_running_loop().create_task(self._load(group))
        return group

    async def _load(self, group: _Group) -> None:
        name = group.runner.name
        try:
            async with asyncio.timeout(LOAD_S_MAX):
                kept = decode_book(await self._store.load_alerts(name))
            group.book = kept.book
            now_ns = read_now().mono_ns
            group.notices = {
                **{(one.kind, one.incarnation): (one.region, one.text, now_ns - one.age_ns) for one in kept.notices},
                **group.notices,
            }
            for sink in self.sinks:
                sink.restore(name, kept.told.get(sink.name, {}))
        except (StoreError, BadRecord, TimeoutError) as error:
            logger.warning(
                "alerts of earlier cannot be loaded; they begin anew", extra={"group": name, "error": str(error)}
            )
        except Exception:
            logger.exception("alerts of earlier cannot be loaded; they begin anew", extra={"group": name})
        finally:
            group.ready = True

    def _facts(self, group: _Group, watched: Watched, now: Now, seen: Seen | None) -> facts.Facts:
        process = facts.Process(
            uptime_ns=now.mono_ns - group.began_ns,
            store_trouble=group.runner.trouble,
            journal_trouble=self._coordinator.history.trouble,
            metrics_trouble=self._store.trouble,
            dropped=_dropped_lately(group, watched.monitor.dropped, now),
            dropped_by=_in_words(watched.monitor.explosions),
            sinks=tuple((sink.name, sink.figures.trouble) for sink in self.sinks),
        )
        if seen is None:
            return facts.Facts(process)
        view = seen.view
        if any(region.agents and not any(a.connected for a in region.agents) for region in view.regions):
            # Who still reaches it? That is dear to copy, and needed now alone.
            whole = group.runner.glance(lambda machine, at: machine.view(at))
            view = replace(view, sights=whole.sights) if whole is not None else view
        # The word of a life that is over, or of an agent that is not there any more, is no word of now.
        lives = {agent.incarnation for region in view.regions for agent in region.agents}
        group.notices = {key: one for key, one in group.notices.items() if one is not None and key[1] in lives}
        then = watched.monitor.prospects.get(view.lease.active_region)
        return facts.Facts(process, view, watched.log, then, _told(group, now))

    def _conditions(self, group: _Group, watched: Watched, view: GroupView, uptime_ns: int, now: Now) -> Looked:
        names = tuple(region.record.name for region in view.regions)
        given = Measured(names, view.policy.slos, uptime_ns)
        looked = group.conditions.look(group.rules, watched.monitor, given, now.mono_ns)
        broken = tuple(
            Finding("rule-broken", subject=name, summary=f"the rule {name} cannot be evaluated: {why}")
            for name, why in looked.broken
        )
        return replace(looked, held=(*looked.held, *broken))

    def _owed(self, name: str) -> frozenset[str]:
        """Alerts that a sink was told of, and whose end it has yet to be told of."""
        return frozenset(
            alert_id for sink in self.sinks for alert_id, word in sink.told(name).items() if not word.resolved
        )

    def _keep(self, group: _Group, now: Now) -> None:
        name = group.runner.name
        told = {sink.name: dict(sink.told(name)) for sink in self.sinks}
        self._store.save_alerts(name, encode_book(Kept(group.book, told, _told(group, now))))
        group.dirty, group.kept_ns = False, now.mono_ns

    # ---- answers

    def book(self, name: str) -> Book | None:
        """The alerts of a group. None: it is not watched yet."""
        group = self._groups.get(name)
        return group.book if group is not None and group.ready else None

    def books(self) -> tuple[tuple[str, Book], ...]:
        """Every group that is watched, and its alerts."""
        return tuple((name, group.book) for name, group in sorted(self._groups.items()) if group.ready)

    def acknowledge(self, name: str, alert_id: str, owner: str, reason: str) -> Alert | None:
        """Somebody looks after it. None: no such alert fires."""
        group = self._groups[name]
        group.book, said = acknowledge(group.book, alert_id, owner, reason)
        if said is not None:
            self._keep(group, read_now())
            group.runner.post(
                Noted(
                    "alert-acknowledged",
                    f"{said.acknowledged_by} looks after {alert_id}: {reason}",
                    Severity.INFO,
                    said.region,
                )
            )
        return said

    async def test(self, name: str, sinks: tuple[Sink, ...]) -> tuple[str, ...]:
        """Sends a test alert to each. Why that failed, or empty, for each."""
        return tuple(await asyncio.gather(*(sink.test(name) for sink in sinks)))


def _notice(group: _Group, entry: Journal) -> None:
    """Keeps what agents told that an alert may be made of."""
    if not isinstance(entry.inputs, Notice):
        return
    life = entry.inputs.incarnation
    if entry.kind in facts.NOTABLE:
        group.notices[entry.kind, life] = entry.region, entry.message, read_now().mono_ns
        group.dirty = True
    elif entry.kind in facts.TAKES_BACK:
        group.notices[facts.TAKES_BACK[entry.kind], life] = None
        group.dirty = True


def _told(group: _Group, now: Now) -> tuple[facts.Told, ...]:
    return tuple(
        facts.Told(kind, one[0], life, one[1], now.mono_ns - one[2])
        for (kind, life), one in sorted(group.notices.items(), key=lambda entry: entry[0])
        if one is not None
    )


def _dropped_lately(group: _Group, dropped: int, now: Now) -> int:
    """Values that were left out since that began, as long as it goes on."""
    if group.dropped < 0 or dropped < group.dropped:
        group.dropped = group.dropped_before = dropped
    if dropped > group.dropped:
        group.dropped, group.dropped_ns = dropped, now.mono_ns
    elif now.mono_ns - group.dropped_ns > DROPPED_NS:
        group.dropped_before = dropped
    return dropped - group.dropped_before


def _in_words(explosions: Sequence[Explosion]) -> str:
    """`eu/agent-1 (user_17) and 2 others`: who has the most first."""
    found = sorted(explosions, key=lambda one: -one.values)
    if not found:
        return ""
    first = found[0]
    name = (first.agent or first.region) + (f" ({first.series})" if first.series else "")
    return name if len(found) == 1 else f"{name} and {len(found) - 1} others"


def _journal(runner: Runner, transition: Transition) -> None:
    alert = transition.alert
    if alert.state is AlertState.FIRING:
        because = f" (explained by {alert.cause_id})" if alert.cause_id else ""
        runner.post(
            Noted(
                "alert-firing",
                f"{alert.id} fires: {alert.summary}{because}",
                alert.severity,
                alert.region,
                transition.decided,
            )
        )
    else:
        runner.post(Noted("alert-resolved", f"{alert.id} is over", Severity.INFO, alert.region, transition.decided))
