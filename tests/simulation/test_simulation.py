"""Schedules of faults against the real cores: I1, I2, I7 and I8 at every step, and liveness at the end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from primacy_wire.instant import SECOND_NS

from tests.simulation.world.schedules import options_of, run_seed
from tests.simulation.world.world import World

SEEDS = 120
CHUNK = 20
MECHANISMS = {
    "agent pause", "agent restart", "closed deaf", "closed reconnected", "closed superseded", "coordinator pause",
    "coordinator start", "cut", "failover-aborted", "forced move", "freeze ended by itself", "ghost", "late agent",
    "lease-accepted", "lease-granted", "lease-lapsed", "lease-released", "no-candidate", "offer taken", "one-way cut",
    "persist refused", "planned move", "recovery-confirmed", "release by itself", "renewal", "restart wait", "revival",
    "service fault", "state-doubt", "state-recovered", "store lost", "store put back", "ttl longer", "ttl shorter",
    "twin", "wall clock step",
}  # fmt: skip
_fired: Counter[str] = Counter()


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_schedules_of_faults(first: int) -> None:
    for seed in range(first, first + CHUNK):
        _fired.update(run_seed(seed))


def test_every_mechanism_fired() -> None:
    """A world in which nothing happens proves nothing."""
    if len(_fired) < 5:
        pytest.skip("the schedules ran in another process")
    seed = SEEDS
    while missing := {what for what in MECHANISMS if not _fired[what]}:
        assert seed < 4 * SEEDS, f"never fired in {seed} schedules: {sorted(missing)}"
        _fired.update(run_seed(seed))
        seed += 1


@pytest.mark.parametrize("seed", [3, 58, 61])
def test_a_seed_is_a_schedule(seed: int) -> None:
    """The same seed gives the same run, message by message: a failure can be replayed."""

    def trace() -> list[str]:
        world = World(seed, replace(options_of(seed), trace_kept=None))
        world.begin()
        world.run_for(60 * SECOND_NS)
        return list(world.trace)

    assert trace() == trace()
