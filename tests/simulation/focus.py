"""Worlds in which a mistake shows soon, and a seed in which it does. Found by `scripts/simulate --mutate NAME`."""

from __future__ import annotations

from primacy_wire.instant import SECOND_NS

from tests.simulation.world.network import Weather
from tests.simulation.world.world import Options

LATE = Weather(loss=0.05, double=0.2, late=0.1, late_ns=5 * SECOND_NS)
THREE = {"ap": 1, "eu": 1, "us": 1}

FOCUS: dict[str, Options] = {
    "renews_while_releasing": Options(
        {"ap": 2, "eu": 1}, weather=Weather(loss=0.3), faults=("health", "move"), fault_every_ns=2 * SECOND_NS
    ),
    "shorter_ttl_recorded_at_once": Options(
        {"ap": 1, "eu": 1}, faults=("ttl", "crash", "cut"), fault_every_ns=2 * SECOND_NS
    ),
    "restart_waits_by_the_policy": Options(THREE, faults=("ttl", "ttl", "crash", "cut"), fault_every_ns=3 * SECOND_NS),
    "one_agent_is_enough": Options({"ap": 2, "eu": 2}, faults=("cut",), fault_every_ns=2 * SECOND_NS),
    "reports_hide_what_was_released": Options(THREE, faults=("leave", "cut")),
    "a_freeze_never_ends": Options(
        THREE, weather=Weather(loss=0.2), faults=("move", "crash"), fault_every_ns=3 * SECOND_NS
    ),
    "late_offers_are_taken": Options(
        THREE, weather=LATE, faults=("move", "leave", "health"), fault_every_ns=2 * SECOND_NS
    ),
    "a_refusal_is_not_final": Options(
        THREE, weather=LATE, faults=("move", "leave", "health"), fault_every_ns=2 * SECOND_NS
    ),
    "doubt_does_not_wait": Options(THREE, faults=("store", "cut", "health"), fault_every_ns=2 * SECOND_NS),
    "a_release_speaks_for_earlier_lives": Options(
        {"ap": 2, "eu": 1}, faults=("restart", "health"), fault_every_ns=2 * SECOND_NS
    ),
}
