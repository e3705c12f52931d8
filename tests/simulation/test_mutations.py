"""The simulator can fail: each rule of lease and moves, dropped on purpose, is noticed in the seed that is kept."""

from __future__ import annotations

import pytest

from tests.simulation.focus import options_for
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.world.schedules import run_seed

CAUGHT = {
    "count_from_receipt": (0, "I1"),
    "no_drift_margin": (37, "I1"),
    "active_is_remembered": (15, "I1"),
    "holds_shrink": (1, "I1"),
    "shorter_ttl_recorded_at_once": (6, "I1"),
    "longer_ttl_told_before_durable": (261, "I7"),
    "restart_does_not_wait": (4, "I1"),
    "restart_waits_by_the_policy": (1, "I1"),
    "one_agent_is_enough": (1, "I1"),
    "offers_are_not_counted": (0, "I7"),
    "a_release_speaks_for_the_region": (43, "I1"),
    "a_release_speaks_for_earlier_lives": (11, "I1"),
    "a_new_life_takes_over_the_hold": (34, "I1"),
    "told_before_durable": (14, "I7"),
    "renews_while_releasing": (18, "I7"),
    "late_offers_are_taken": (0, "I1"),
    "answers_to_earlier_lives_count": (34, "I1"),
    "a_refusal_is_not_final": (2, "I1"),
    "reports_hide_what_was_released": (1, "liveness"),
    "a_freeze_never_ends": (11, "liveness"),
    "restored_store_is_trusted": (9, "I2"),
    "doubt_does_not_wait": (1, "I1"),
    "a_forced_move_does_not_wait": (12, "I1"),
    "soft_rules_are_hard": (2, "waiting"),
    "damping_never_decays": (0, "damping"),
    "a_drained_region_is_elected": (0, "election"),
    "who_was_eligible_stays_so": (0, "election"),
    "safety_is_not_looked_at_again": (1, "release"),
    "the_lease_goes_back_at_once": (0, "failback"),
    "the_brake_is_ignored": (0, "brake"),
    "the_brake_is_never_returned": (0, "brake"),
    "the_brake_lets_everybody": (0, "brake"),
    "self_doubt_never_ends": (0, "doubt"),
    "self_doubt_puts_nothing_off": (1, "doubt"),
    "a_pause_pauses_nothing": (0, "pause"),
    "an_expired_pause_keeps_pausing": (0, "waiting"),
    "an_override_never_ends": (0, "override"),
    "ends_follow_the_wall_clock": (2, "clock"),
    "nobody_need_approve": (5, "approval"),
    "approval_waits_for_ever": (5, "approval"),
    "a_drain_leaves_some_reads": (0, "drain"),
    "a_drain_outlives_its_switchover": (2, "drain"),
    "active_before_on_promote": (0, "hooks"),
    "a_failed_promotion_keeps_the_lease": (0, "hooks"),
    "a_promotion_that_was_cut_short_is_not_tried_again": (0, "hooks"),
    "a_release_does_not_wait_for_hooks": (0, "hooks"),
    "fingerprints_are_not_compared": (0, "I3"),
    "a_stale_epoch_is_taken": (0, "I4"),
    "what_lost_is_not_kept": (0, "I5"),
    "a_repeated_append_happens_again": (0, "I3"),
    "entries_are_settled_in_any_order": (23, "I3"),
    "a_parked_entry_holds_nothing_back": (4, "I3"),
    "what_the_log_lost_is_not_written_again": (6, "I3"),
}
SEARCHED = 400
"""A change of the cores moves schedules; then the mistake must show in one of so many other seeds."""


def test_every_mutation_has_its_seed() -> None:
    assert set(CAUGHT) == set(MUTATIONS)


@pytest.mark.parametrize("name", sorted(CAUGHT))
def test_a_dropped_rule_is_noticed(name: str) -> None:
    kept, invariant = CAUGHT[name]
    for seed in (kept, *range(SEARCHED)):
        with mutated(name):
            try:
                run_seed(seed, options_for(name, seed))
            except AssertionError:
                return  # `Broken`, or an assertion of the cores that noticed it first.
    pytest.fail(f"{name} was not noticed: {invariant} was broken by it in seed {kept} once")


def test_the_same_seeds_hold_without_the_mistake() -> None:
    for name, (seed, _) in CAUGHT.items():
        run_seed(seed, options_for(name, seed))
