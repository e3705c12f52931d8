"""One tiny run of the benchmark of appends, which starts a whole group. Its figures mean nothing here."""

from __future__ import annotations

import math

import pytest

from bench import appends

pytestmark = pytest.mark.integration


def test_appends_are_measured_beside_the_floor_and_with_another_region() -> None:
    rows = appends.run(callers=(2,), seconds=0.4)
    assert all(math.isfinite(row.value) and row.value > 0 for row in rows)
    assert {row.reference for row in rows} == {"bare gRPC + SQLite", "", "the same, LOCAL"}
    assert any("REGIONS" in row.name for row in rows)
