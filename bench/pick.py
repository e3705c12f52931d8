"""What a pick costs a service that picks by itself, beside what Python's own library would cost it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from primacy.agent.v1.local_service_pb2 import WatchActiveResponse, WatchWeightsResponse
from primacy_agent.client.authority import AuthorityWatch
from primacy_agent.client.picks import Picks
from primacy_wire.picker import Picker

from bench.rows import Row

SEED = 20
BUDGET_US = 1.0
ROUNDS = 5
LEASE_S = 3600


def _each_us(call: Callable[[], object], count: int) -> float:
    """Of the fastest round: what is slower was the machine's doing."""
    best = float("inf")
    for _ in range(ROUNDS):
        began_ns = time.perf_counter_ns()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter_ns() - began_ns) / count / 1e3)
    return best


def _client(row: dict[str, float]) -> tuple[Picks, AuthorityWatch]:
    """What `primacy_agent.client` picks and answers from, as an agent's word would have left it."""
    authority = AuthorityWatch()
    active = WatchActiveResponse(active=True, region="r0", epoch=1, active_epoch=1)
    active.deadline_boottime_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + LEASE_S * 10**9
    active.remaining.FromSeconds(LEASE_S)
    authority.take(active)
    picks = Picks(authority.now)
    weights = WatchWeightsResponse(version=1, endpoints={name: f"{name}.example:80" for name in row})
    weights.read.weights.update(row)
    picks.take(weights)
    return picks, authority


def run(regions: tuple[int, ...] = (3, 50), count: int = 100_000) -> list[Row]:
    """Picks at random and by a key, from the row and through the client, which counts them as well."""
    found = []
    for size in regions:
        draw = random.Random(SEED)
        row = {f"r{number}": draw.uniform(0.1, 1) for number in range(size)}
        names, shares = list(row), list(row.values())
        picker, (picks, authority) = Picker(row.items()), _client(row)
        plain = _each_us(lambda names=names, shares=shares: random.choices(names, shares), count)
        affine = _each_us(lambda picker=picker: picker.pick_affine("customer-7"), count // 10)
        where = f"{size} regions"
        found += [
            Row(
                f"pick: from a row, {where}",
                _each_us(lambda picker=picker: picker.pick(random.random()), count),
                "us",
                "random.choices",
                plain,
                1.0,
            ),
            Row(f"pick: client.pick(), counted, {where}", _each_us(lambda picks=picks: picks.read(None), count), "us",
                budget=BUDGET_US),
            Row(f"pick_affine: by a key, {where}", affine, "us", "random.choices", plain),
        ]  # fmt: skip
        if size == regions[0]:
            found.append(Row("pick: client.is_active()", _each_us(authority.is_active, count), "us", budget=BUDGET_US))
    return found
