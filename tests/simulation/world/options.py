"""What may happen in a schedule, and how a schedule fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from primacy_coordinator.core.model import Policy
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS

from tests.simulation.world.network import FAIR, Weather

DRIFT_PPM = 100_000
"""Ten times the product's bound, so that a forgotten margin shows."""
TTLS_NS = (5 * SECOND_NS, 4 * SECOND_NS, 12 * SECOND_NS)
TRACE_KEPT = 120


@dataclass(frozen=True)
class HookPlan:
    """How the hooks of all agents behave: the share of runs that end in each way."""

    promote: bool = True
    demote: bool = True
    fails: float = 0.0
    hangs: float = 0.0
    """It runs until the agent ends it at the timeout."""
    late: float = 0.0
    """It succeeds just before the timeout."""
    usual_ns: int = 300 * MILLISECOND_NS
    promote_timeout_ns: int = 6 * SECOND_NS
    demote_timeout_ns: int = 2 * SECOND_NS

    def mended(self) -> HookPlan:
        return HookPlan(self.promote, self.demote, usual_ns=self.usual_ns)


@dataclass(frozen=True)
class Options:
    regions: dict[str, int]
    """region -> how many agents."""
    weather: Weather = FAIR
    faults: tuple[str, ...] = ()
    fault_every_ns: int = 4 * SECOND_NS
    refuse: float = 0.0
    """Share of batches that the store refuses."""
    slow_disk: float = 0.02
    drift_ppm: int = DRIFT_PPM
    settings: Mapping[str, object] = field(default_factory=dict)
    """Values of the policy that are not those of `policy_of`."""
    hooks: HookPlan | None = None
    priorities: Mapping[str, int] = field(default_factory=dict)
    groups: int = 1
    """Groups on one coordinator, each with agents of its own, under one brake."""
    failovers_max: int = 3
    """How many groups the coordinator's brake lets fail over at once."""
    brake_ns_max: int = 60 * SECOND_NS
    """No failover waits longer than that for the brake."""
    trace_kept: int | None = TRACE_KEPT
    """How many lines of the trace a failure prints; None: all."""

    def policy(self) -> Policy:
        """Shorter times than the product's defaults, so that everything comes to its end within a schedule."""
        usual: dict[str, object] = {
            "lease_ttl_ns": TTLS_NS[0],
            "drift_ppm": self.drift_ppm,
            "grace_ns": SECOND_NS,
            "first_wait_ns": SECOND_NS,
            "stable_for_ns": 5 * SECOND_NS,
            "switchover_timeout_ns": 6 * SECOND_NS,
            "hold_down_ns": 10 * SECOND_NS,
            "cool_down_ns": 5 * SECOND_NS,
            "flap_half_life_ns": 10 * SECOND_NS,
            "doubt_max_ns": 6 * SECOND_NS,
            "failback_after_ns": 10 * SECOND_NS,
            "approval_timeout_ns": 8 * SECOND_NS,
            "drain_time_ns": 4 * SECOND_NS,
            "slow_start_ns": 5 * SECOND_NS,
        }
        return Policy(**{**usual, **self.settings})  # type: ignore[arg-type]


class Broken(AssertionError):
    """An invariant does not hold. The message has the seed and the way there."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule
