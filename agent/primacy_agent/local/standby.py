"""Is this agent's service a standby that reads may be sent to? For proxies, by `GET /standby?max_lag=10s`."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from primacy.v1 import agent_pb2
from primacy_wire.durations import Duration, seconds_text
from primacy_wire.messages import Lag, Phase, ServiceHealth, ServiceState

PARAMETER = "max_lag"


class BadQuery(Exception):
    """The message names the parameter."""


@dataclass(frozen=True, slots=True)
class StandbyAnswer:
    """`reason` is empty when it is one."""

    phase: Phase
    lag: Lag
    reason: str

    def content(self) -> dict[str, object]:
        """As JSON, in the manner of proto3."""
        return {
            "standby": not self.reason,
            "phase": agent_pb2.Phase.Name(agent_pb2.Phase.ValueType(int(self.phase))),
            "lag": {
                "age": seconds_text(self.lag.age_ns) if self.lag.age_ns >= 0 else None,
                "entries": str(self.lag.entries) if self.lag.entries >= 0 else None,
                "bytes": str(self.lag.bytes) if self.lag.bytes >= 0 else None,
            },
            "reason": self.reason,
        }


def lag_limit(query: str) -> int | None:
    """The longest age that is asked for, in nanoseconds; None: any. Raises BadQuery."""
    limit: int | None = None
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name != PARAMETER:
            raise BadQuery(f"{name}: unknown parameter: there is {PARAMETER}, e.g. ?{PARAMETER}=10s")
        if limit is not None:
            raise BadQuery(f"{PARAMETER}: is given twice")
        try:
            limit = Duration.of(text)
        except ValueError:
            raise BadQuery(f"{PARAMETER}: must be a time like 10s or 500ms, got {text!r}") from None
    return limit


def judge(phase: Phase, health: ServiceHealth, lag: Lag, limit_ns: int | None) -> StandbyAnswer:
    """Healthy, no more than a standby, and no farther behind than is asked for: a lag that is not known is too far."""
    reason = ""
    if phase is not Phase.STANDBY:
        reason = f"it is {phase.name}"
    elif health.state is not ServiceState.UP:
        reason = f"its service is {health.state.name}" + (f": {health.reason}" if health.reason else "")
    elif limit_ns is not None and lag.age_ns < 0:
        reason = "how far its data is behind is not known: map lag_seconds in a probe"
    elif limit_ns is not None and lag.age_ns > limit_ns:
        reason = f"its data is {seconds_text(lag.age_ns)} behind, more than {seconds_text(limit_ns)}"
    return StandbyAnswer(phase, lag, reason)
