"""What agents tell of themselves, into the journal."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Notice

from primacy_coordinator.core.effects import Severity
from primacy_coordinator.core.state import Session
from primacy_coordinator.core.turn import Turn

LATE_NS = 5 * SECOND_NS
"""A notice that is older says so: it waited for a coordinator."""


def on_notice(turn: Turn, session: Session, message: Notice) -> None:
    """Journal it, as far as it is of the life that the session is of."""
    if message.incarnation != session.hello.incarnation:
        return
    late = f" ({message.age_ns / SECOND_NS:.0f} s before it could be told)" if message.age_ns > LATE_NS else ""
    severity = Severity.WARNING if message.warning else Severity.INFO
    turn.journal(message.name, f"{session.key}: {message.text}{late}", severity, region=session.region, inputs=message)
