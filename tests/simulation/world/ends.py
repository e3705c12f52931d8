"""That whatever puts a move off, or speaks against a region, ends when it should, however the wall clock steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from primacy_coordinator.core.state import State
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

if TYPE_CHECKING:
    from tests.simulation.world.world import World

NEAR_NS = 50 * MILLISECOND_NS
STEP_LOST_NS = 10 * SECOND_NS
"""A crash so soon after a step of the wall clock may lose what followed from it, for it was on its way to the disk."""


class Ends:
    """Instants are of the coordinator's own clock, which no restart and no step disturbs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._expiries: dict[str, tuple[str, int]] = {}
        """key -> (reason, by which every setting is known; when it shall end)."""
        self._falls: dict[str, tuple[float, int]] = {}
        """region -> (count of falls as of the last one, when that was)."""
        self._stepped_ns: int | None = None
        """When the wall clock stepped last."""
        self._unseen = False
        """It stepped while no machine could see it."""

    def begin(self) -> None:
        """A machine was loaded: what it found is in wall time."""
        recent = self._stepped_ns is not None and self._world.time_ns - self._stepped_ns < STEP_LOST_NS
        if self._unseen or recent:
            self.forget()
        self._unseen = False

    def forget(self) -> None:
        """The store is another one, or the clock stepped unseen: nothing is known of any end."""
        self._expiries.clear()
        self._falls.clear()

    def clock_stepped(self, seen: bool) -> None:
        self._stepped_ns = self._world.time_ns
        self._unseen = self._unseen or not seen

    def is_paused(self, state: State, now_ns: int) -> bool:
        """Whether a pause is in force and its time is not over."""
        known = self._expiries.get("pause")
        return "pause" in state.overrides and (known is None or now_ns < known[1])

    def look(self, state: State, now_ns: int, slack_ns: int) -> None:
        for key, override in state.overrides.items():
            known = self._expiries.get(key)
            if known is None or known[0] != override.record.reason:
                self._expiries[key] = known = override.record.reason, override.expire_ns
                self._world.count(f"set: {override.record.what.name.lower()}")
            if abs(known[1] - override.expire_ns) > NEAR_NS:
                moved_s = (override.expire_ns - known[1]) / 1e9
                self._world.fail("clock", f"the end of {key} moved by {moved_s:+.1f} s")
            if now_ns > known[1] + slack_ns:
                self._world.fail("override", f"{key} goes on {(now_ns - known[1]) / 1e9:.1f} s after its end")
        for key in [key for key in self._expiries if key not in state.overrides]:
            del self._expiries[key]
        doubt = state.self_doubt
        if doubt is not None and now_ns > doubt.began_ns + state.policy.doubt_max_ns + slack_ns:
            self._world.fail("doubt", f"{doubt.name} lasts for {(now_ns - doubt.began_ns) / 1e9:.1f} s")
        self._look_at_the_past(state, now_ns, slack_ns)

    def _look_at_the_past(self, state: State, now_ns: int, slack_ns: int) -> None:
        policy = state.policy
        wall_ns = now_ns + state.wall_offset_ns
        if state.cool_until_wall_ns > wall_ns + policy.cool_down_ns + SECOND_NS:
            self._world.fail("clock", "the cool-down lasts longer than the policy says")
        for name, region in state.regions.items():
            past = region.damping
            if past.hold_until_wall_ns > wall_ns + policy.hold_down_ns + SECOND_NS:
                self._world.fail("clock", f"{name} is held down for longer than the policy says")
            before = self._falls.get(name)
            if before is None or past.penalty != before[0]:
                self._falls[name] = before = past.penalty, now_ns
            if not past.damped:
                continue
            halvings = max(0.0, math.log2(2 * before[0] / policy.flap_limit))
            if now_ns > before[1] + int(halvings * policy.flap_half_life_ns) + slack_ns:
                self._world.fail("damping", f"{name} is damped {(now_ns - before[1]) / 1e9:.1f} s after its last fall")

    def remaining_ns(self, state: State, now_ns: int) -> int:
        """How long until the last override ends."""
        return max((override.expire_ns - now_ns for override in state.overrides.values()), default=0)
