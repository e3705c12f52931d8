"""The rows in force: the coordinator's last word, or what an earlier life kept of it, and what this agent moves itself.

Computed when something changed that they rest on, and read as often as anybody likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS, Now
from primacy_wire.messages import ServiceState, WeightsUpdate

from primacy_agent.core.lease import LeaseHolder
from primacy_agent.core.observing import Sight
from primacy_agent.core.shunning import Shift, dead_regions, nearest_first, news_of, shifted
from primacy_agent.core.traffic import Row, Traffic
from primacy_agent.dataplane.outputs import Tell
from primacy_agent.kept_weights import KeptWeights

NOTHING = Shift(())


class Rows:
    """Everything runs on the event loop's thread."""

    def __init__(self, group: str, region: str, holder: LeaseHolder, kept: KeptWeights, tell: Tell) -> None:
        self.shift = NOTHING
        """The row for reads."""
        self.traffic: Traffic | None = None
        """What data planes are told; None before the first weights came."""
        self._group = group
        self._region = region
        self._holder = holder
        self._kept = kept
        self._tell = tell
        self._started = read_now()

    @property
    def update(self) -> WeightsUpdate | None:
        """The coordinator's last word. Until this life has heard one it is what an earlier one heard."""
        return self._holder.rows if self._holder.rows is not None else self._kept.update

    @property
    def write(self) -> Row:
        """For writes, as the coordinator said: no agent moves them."""
        update = self.update
        return update.write if update is not None else ()

    @property
    def own_endpoint(self) -> str:
        """Where clients of the own region go, or nothing."""
        update = self.update
        return dict(update.endpoints).get(self._region, "") if update is not None else ""

    @property
    def other_endpoints(self) -> tuple[tuple[str, str], ...]:
        """The same of every other region that has one."""
        update = self.update
        endpoints = update.endpoints if update is not None else ()
        return tuple((region, endpoint) for region, endpoint in endpoints if endpoint and region != self._region)

    def age_ns(self, now: Now) -> int:
        """How long ago the rows came from the coordinator.

        Over a restart the wall clock tells, and this life's own length is the least, should that clock have stepped.
        """
        if self._holder.rows is not None:
            return max(0, now.mono_ns - self._holder.rows_received_mono_ns)
        return max(0, now.mono_ns - self._started.mono_ns, now.wall_ns - self._kept.received_wall_ns)

    def arrived(self) -> None:
        """The coordinator has sent new ones: a later life shall know them."""
        if self._holder.rows is not None:
            self._kept.keep(self._holder.rows, read_now().wall_ns)

    def refresh(self, sights: Sequence[Sight], health: ServiceState, is_connected: Callable[[], bool]) -> bool:
        """After the rows, the sights or the own health changed. Returns whether that changed what is in force."""
        update = self.update
        if update is None:
            return False
        dead = dead_regions(sights, self._region, health is ServiceState.DOWN)
        # An older coordinator does not say who may be an heir.
        order = update.fallback if update.fallback is not None else nearest_first(sights, self._region)
        limit = update.local_shift_max
        before, after = self.shift, shifted(update.read, dead, order, update.drained, limit, update.room)
        news = news_of(before, after, dead)
        self.shift = after
        if news is not None:
            heard = "" if is_connected() else "no coordinator is heard, and "
            age = f" ({heard}the weights are {self.age_ns(read_now()) / SECOND_NS:.0f} s old)"
            self._tell(news.name, news.text + age, news.warning)
        acts = limit > 0 and not {region for region, _ in update.read} <= dead.keys()
        traffic = Traffic(
            group=self._group,
            region=self._region,
            version=update.version,
            strategy=update.strategy,
            read=after.row,
            write=update.write,
            endpoints=update.endpoints,
            fallback=tuple(region for region in update.fallback or () if not (acts and region in dead)),
            drained=update.drained,
            shunned=after.shunned,
            active_region=update.active_region,
            active_epoch=update.active_epoch,
            panic_threshold=update.panic_threshold,
            overprovisioning=update.overprovisioning,
        )
        changed = traffic != self.traffic
        self.traffic = traffic
        return changed
