"""The simulator can fail: every rule of the lease, dropped on purpose, is noticed in the seed that is kept here."""

from __future__ import annotations

import pytest

from tests.simulation.focus import FOCUS
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.world.schedules import run_seed

CAUGHT = {
    "count_from_receipt": (9, "I1"),
    "no_drift_margin": (37, "I1"),
    "active_is_remembered": (5, "I1"),
    "holds_shrink": (77, "I1"),
    "shorter_ttl_recorded_at_once": (59, "I1"),
    "longer_ttl_told_before_durable": (261, "I7"),
    "restart_does_not_wait": (4, "I1"),
    "restart_waits_by_the_policy": (135, "I1"),
    "one_agent_is_enough": (0, "I1"),
    "offers_are_not_counted": (0, "I7"),
    "a_release_speaks_for_the_region": (43, "I1"),
    "a_release_speaks_for_earlier_lives": (11, "I1"),
    "a_new_life_takes_over_the_hold": (34, "I1"),
    "told_before_durable": (14, "I7"),
    "renews_while_releasing": (18, "I1"),
    "late_offers_are_taken": (0, "I1"),
    "answers_to_earlier_lives_count": (7, "I1"),
    "a_refusal_is_not_final": (7, "I1"),
    "reports_hide_what_was_released": (0, "liveness"),
    "a_freeze_never_ends": (6, "liveness"),
    "restored_store_is_trusted": (14, "liveness"),
    "doubt_does_not_wait": (11, "I1"),
    "a_forced_move_does_not_wait": (8, "I1"),
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
                run_seed(seed, FOCUS.get(name))
            except AssertionError:
                return  # `Broken`, or an assertion of the cores that noticed it first.
    pytest.fail(f"{name} was not noticed: {invariant} was broken by it in seed {kept} once")


def test_the_same_seeds_hold_without_the_mistake() -> None:
    for name, (seed, _) in CAUGHT.items():
        run_seed(seed, FOCUS.get(name))
