"""One tiny run of the store's benchmark, and the versions that it makes."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from bench import store


def test_every_figure_is_finite_and_little_has_to_move_for_a_clustered_change() -> None:
    rows = store.run(size=8 << 20, rounds=1)
    assert all(math.isfinite(row.value) and row.value > 0 and row.ratio is not None for row in rows)
    clusters = next(row for row in rows if "clusters" in row.name and row.reference == "ideal")
    assert clusters.ratio is not None and 1.0 <= clusters.ratio < 2.0


@pytest.mark.parametrize("change", [store.clustered, store.scattered])
def test_a_version_has_as_many_new_bytes_as_is_said(change: Callable[..., tuple[bytes, int]]) -> None:
    old = bytes(16 << 20)
    new, count = change(old, random.Random(1))
    changed = len(new) - new.count(0)
    assert count * 0.99 < changed <= count
    assert 0.045 < count / len(old) < 0.055
