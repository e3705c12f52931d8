"""From instants to seconds of UTC on which values are kept: by the clock that never steps, led by the wall clock."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS, Now

STEP_NS_MIN = 2 * SECOND_NS
"""The wall clock has been set when it went so much farther, or less far, than the other: a slow pull is none."""


class Axis:
    """Where on the axis of kept values an instant lies."""

    def __init__(self, now: Now) -> None:
        self._offset_ns = now.wall_ns - now.mono_ns

    def second(self, now: Now) -> tuple[int, bool]:
        """(second, whether the wall clock was set back to before an earlier instant).

        Set forward, it leaves a gap; set back, what lies beyond the new now is of a time that has not come yet.
        """
        ahead_ns = now.wall_ns - (now.mono_ns + self._offset_ns)
        back = False
        if abs(ahead_ns) >= STEP_NS_MIN:
            self._offset_ns += ahead_ns
            back = ahead_ns < 0
        return (now.mono_ns + self._offset_ns) // SECOND_NS, back
