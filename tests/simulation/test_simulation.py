"""Schedules of faults against the real cores.

I1, I2, I4, I7, I8 and what `world/watch.py` lists are looked at in every step; liveness, I3 and I5 at the end.
"""

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
"""Of the lease."""
OPERATIONS = {
    "another group fails over", "approval-needed", "approval-not-needed", "brake asked", "clock-stepped", "cordon-set",
    "double loss", "drain during a move", "drain-abandoned", "drain-set", "drained", "drained-while-active",
    "failback-possible", "failover-approved", "failover-braked", "failover-failed", "flapping service",
    "half of the instances", "hook hangs", "hook killed", "hook late", "lag", "most sessions lost", "move automatic",
    "move failback", "on_demote failed", "on_demote succeeded", "on_promote failed", "on_promote succeeded",
    "override-expired", "override-expiring", "panic-on", "pause that ends amid an incident", "pause-set",
    "paused-without-active", "pin-dead", "pin-set", "probes fail alone", "promotion-failed", "recovery-step",
    "region-damped", "region-undamped", "resumed", "self-doubt-began", "self-doubt-ended", "told: on_demote timed out",
    "told: on_promote timed out", "uncordoned", "undrained", "unpinned",
}  # fmt: skip
"""Of what is around a move."""
LOG = {
    "append: taken", "append: AT_RISK", "append: IN_DOUBT", "append: CONFLICT", "append: FROZEN", "conflict",
    "entry put aside", "entry-parked", "entry-unparked", "full disk", "orphans resubmitted", "retry-asked",
    "snapshot-sent", "written", "written offline",
}  # fmt: skip
"""Of the replication log."""
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
    while missing := {what for what in MECHANISMS | OPERATIONS | LOG if not _fired[what]}:
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
