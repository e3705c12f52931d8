"""Worlds in which a mistake shows soon. Found by `scripts/simulate --mutate NAME`."""

from __future__ import annotations

from collections.abc import Mapping

from primacy_coordinator.core.model import ApprovalAction, Failback, Limits, RoutingStrategy
from primacy_wire.instant import SECOND_NS

from tests.simulation.world.network import FAIR, Weather
from tests.simulation.world.options import HookPlan, Options
from tests.simulation.world.schedules import lease_options_of

LATE = Weather(double=0.5, late=0.3, late_ns=4 * SECOND_NS)
LOSSY = Weather(loss=0.3)
TWO = {"ap": 1, "eu": 1}
THREE = {"ap": 1, "eu": 1, "us": 1}
FOUR = {"ap": 2, "eu": 2}
ORDERED = {"ap": 120, "eu": 110}
DEAR = {"max_loss": Limits(age_ns=2 * SECOND_NS)}


def _focus(
    regions: dict[str, int],
    *faults: str,
    every_s: float = 2,
    weather: Weather = FAIR,
    hooks: HookPlan | None = None,
    settings: Mapping[str, object] | None = None,
    priorities: Mapping[str, int] | None = None,
    groups: int = 1,
    failovers_max: int = 3,
    slow_disk: float = 0.02,
    refuse: float = 0.0,
) -> Options:
    return Options(
        regions,
        weather=weather,
        faults=faults,
        fault_every_ns=int(every_s * SECOND_NS),
        slow_disk=slow_disk,
        refuse=refuse,
        settings=settings or {},
        hooks=hooks,
        priorities=priorities or {},
        groups=groups,
        failovers_max=failovers_max,
    )


LEASE: dict[str, Options] = {
    "renews_while_releasing": _focus({"ap": 2, "eu": 1}, "health", "move", weather=LOSSY),
    "holds_shrink": _focus(TWO, "ttl", "ttl", "cut", every_s=1.5),
    "shorter_ttl_recorded_at_once": _focus({"ap": 2, "eu": 1}, "ttl_amid", "cut", every_s=5),
    "longer_ttl_told_before_durable": _focus(TWO, "ttl", slow_disk=0.5),
    "restart_waits_by_the_policy": _focus(TWO, "ttl_amid", every_s=8),
    "one_agent_is_enough": _focus(FOUR, "cut"),
    "a_new_life_takes_over_the_hold": _focus(THREE, "restart", "move", every_s=1.5),
    "reports_hide_what_was_released": _focus(THREE, "leave", "cut", every_s=4),
    "a_freeze_never_ends": _focus(THREE, "move_amid", every_s=8),
    "late_offers_are_taken": _focus(THREE, "move", every_s=3, weather=LATE),
    "a_refusal_is_not_final": _focus(THREE, "move", every_s=3, weather=LATE),
    "answers_to_earlier_lives_count": _focus(TWO, "restart", "pause", "cut", every_s=1, weather=LATE),
    "count_from_receipt": _focus(TWO, "cut", "pause", weather=LATE),
    "told_before_durable": _focus(THREE, "move", "crash", slow_disk=0.4, refuse=0.05),
    "doubt_does_not_wait": _focus(THREE, "store", "cut", every_s=3),
    "a_release_speaks_for_earlier_lives": _focus({"ap": 2, "eu": 1}, "restart", "health"),
}
MOVES: dict[str, Options] = {
    "soft_rules_are_hard": _focus(
        TWO, "health", "blind", "flap", every_s=3, settings={"hold_down_ns": 30 * SECOND_NS}
    ),
    "damping_never_decays": _focus(THREE, "flap", every_s=10, settings={"flap_limit": 2.0}),
    "a_drained_region_is_elected": _focus(THREE, "drain_amid", every_s=8),
    "who_was_eligible_stays_so": _focus(THREE, "move", "double", "cordon", weather=LOSSY),
    "safety_is_not_looked_at_again": _focus(TWO, "move", "drain_amid", "double"),
    "the_lease_goes_back_at_once": _focus(
        THREE, "health", "blind", every_s=4, settings={"failback": Failback.AUTO, "hold_down_ns": 0}, priorities=ORDERED
    ),
    "the_brake_is_ignored": _focus(THREE, "blind", every_s=8),
    "the_brake_is_never_returned": _focus(THREE, "blind", every_s=10, groups=3, failovers_max=1),
    "the_brake_lets_everybody": _focus(TWO, "blind", every_s=6, groups=6, failovers_max=1),
    "self_doubt_never_ends": _focus(THREE, "sessions", every_s=10),
    "self_doubt_puts_nothing_off": _focus(THREE, "sessions", "health", every_s=5),
    "a_pause_pauses_nothing": _focus(THREE, "pause_amid", every_s=15),
    "an_expired_pause_keeps_pausing": _focus(THREE, "pause_amid", every_s=15),
    "an_override_never_ends": _focus(THREE, "cordon", every_s=15),
    "ends_follow_the_wall_clock": _focus(THREE, "wall", "cordon", every_s=4),
    "nobody_need_approve": _focus(THREE, "lag", "lag", "health", every_s=4, settings=DEAR),
    "approval_waits_for_ever": _focus(
        THREE, "lag", "lag", "health", every_s=4, settings={**DEAR, "approval_action": ApprovalAction.MOVE}
    ),
    "a_drain_leaves_some_reads": _focus(
        THREE, "drain", every_s=10, settings={"read_strategy": RoutingStrategy.ROUND_ROBIN}
    ),
    "a_drain_outlives_its_switchover": _focus(FOUR, "drain", "pause", "restart"),
    "active_before_on_promote": _focus(THREE, "move", every_s=8, hooks=HookPlan()),
    "a_failed_promotion_keeps_the_lease": _focus(
        THREE, "move", every_s=8, hooks=HookPlan(demote=False, fails=0.4, hangs=0.3)
    ),
    "a_promotion_that_was_cut_short_is_not_tried_again": _focus(
        TWO,
        "cut", "sessions", "move",
        every_s=3,
        hooks=HookPlan(demote=False, late=0.8, promote_timeout_ns=12 * SECOND_NS),
    ),
    "a_release_does_not_wait_for_hooks": _focus(THREE, "move", every_s=8, hooks=HookPlan()),
}  # fmt: skip
WRITES = ("write", "write", "write")
LOG: dict[str, Options] = {
    "fingerprints_are_not_compared": _focus(TWO, *WRITES, "store", every_s=2),
    "a_stale_epoch_is_taken": _focus(THREE, *WRITES, "cut", "move", every_s=1),
    "what_lost_is_not_kept": _focus(THREE, *WRITES, "cut", every_s=1),
    "a_repeated_append_happens_again": _focus(TWO, *WRITES, every_s=1, weather=LOSSY),
    "entries_are_settled_in_any_order": _focus(TWO, *WRITES, "cut", every_s=1),
    "a_parked_entry_holds_nothing_back": _focus(TWO, *WRITES, "full", every_s=1),
    "what_the_log_lost_is_not_written_again": _focus(TWO, *WRITES, "store", every_s=2),
}
FOCUS = {**LEASE, **MOVES, **LOG}


def options_for(name: str, seed: int) -> Options:
    """The world in which a mistake is looked for: its own, else one of those that attack the lease."""
    return FOCUS.get(name) or lease_options_of(seed)
