"""The benchmarks' table and JSON, and one tiny run of each that needs no quiet machine."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from primacy_wire.instant import SECOND_NS

from bench import core_events, metrics, nasty, optimal, pick, soak, weights
from bench.reports import measure_cost
from bench.rows import Row, percentile, table, write
from bench.servers import Start, bare, coordinator

KEYS = {"name", "value", "unit", "reference", "reference_value", "ratio", "budget", "holds"}


def test_a_budget_bounds_the_ratio_where_there_is_a_reference_and_the_value_where_there_is_none() -> None:
    assert Row("a", 30.0, "us", "floor", 20.0, 1.5).holds is True
    assert Row("a", 31.0, "us", "floor", 20.0, 1.5).holds is False
    assert Row("a", 49.0, "ms", budget=50.0).holds is True
    assert Row("a", 51.0, "ms", budget=50.0).holds is False
    assert Row("a", 49.0, "per second", budget=50.0, at_least=True).holds is False
    assert Row("a", 51.0, "ms").holds is None


def test_json_has_the_documented_keys_and_the_table_names_what_missed(tmp_path: Path) -> None:
    rows = [Row("kept", 30.0, "us", "floor", 20.0, 1.5), Row("missed", 51.0, "ms", budget=50.0), Row("free", 1.0, "MB")]
    write(rows, tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    assert all(set(entry) == KEYS for entry in found)
    assert [(entry["ratio"], entry["holds"]) for entry in found] == [(1.5, True), (None, False), (None, None)]
    lines = table(rows).splitlines()
    assert "holds" in lines[1] and "MISSED" in lines[2] and "MISSED" not in lines[3]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert (percentile(values, 0.0), percentile(values, 0.5), percentile(values, 0.99)) == (1.0, 3.0, 5.0)
    with pytest.raises(IndexError):
        percentile([], 0.5)


def test_shaping_quiets_weights_and_costs_little() -> None:
    rows = weights.run(minutes=2, regions=6, rounds=3)
    for row in rows[:2]:
        assert row.reference_value is not None and row.reference_value > 10 and row.holds
    assert all(row.value > 0 for row in rows[2:])


def test_picks_are_measured() -> None:
    rows = pick.run(regions=(3,), count=100)
    assert len(rows) == 4 and all(row.value > 0 for row in rows)


def test_plans_are_measured_beside_a_real_solver() -> None:
    rows = optimal.run(regions=5, instances=2)
    assert all(row.value > 0 for row in rows) and len(rows) == 7
    assert all(row.reference_value for row in rows[:3]) and rows[3].budget == optimal.BUDGET_MS


def test_looks_and_questions_are_measured() -> None:
    rows = [*metrics.looks(6, 3, seconds=70), metrics.core(6, 3, seconds=20), *asyncio.run(metrics.questions(days=1))]
    assert len(rows) == 13
    assert all(row.value > 0 for row in rows)


def test_memory_and_disk_level_off(tmp_path: Path) -> None:
    """A small group under small bounds, for an hour and a quarter of virtual time."""
    figures = asyncio.run(soak.soak(tmp_path, 1.25, 3, 6, 20, memory_mib=8, disk_mib=2, every_s=900))
    assert [round(one.hours, 2) for one in figures] == [0.25, 0.5, 0.75, 1.0, 1.25]
    assert all(one.kept_mib < 8 for one in figures)
    assert figures[-1].disk_mib < 2 + 4.5, "the file, and the log that is written before it"


def test_the_core_handles_events() -> None:
    (row,) = core_events.run(agents=20, rounds=3)
    assert row.value > 1000.0


def test_the_defaults_move_less_than_haste_does_while_a_service_flaps_and_serve_longer_than_patience() -> None:
    ours, at_once, slow = (
        nasty.measure(nasty.SETTINGS[nasty.FLAPS], nasty.POLICIES[policy], 1, 120 * SECOND_NS)
        for policy in (nasty.DEFAULTS, nasty.AT_ONCE, nasty.SLOW)
    )
    assert 0 < ours.moves < at_once.moves
    assert 0.0 < ours.dark_s < slow.dark_s


def test_every_nasty_schedule_gives_finite_figures() -> None:
    rows = nasty.run(seeds=1, length_ns=40 * SECOND_NS)
    assert len(rows) == len(nasty.SETTINGS) * len(nasty.FIGURES)
    assert all(math.isfinite(row.value) and row.value >= 0 and row.reference_value is not None for row in rows)
    assert all(row.value <= 100 for row in rows if row.unit == "%")
    assert any(row.value for row in rows)


@pytest.mark.integration
@pytest.mark.parametrize("start", [coordinator, bare])
def test_a_few_agents_report_to_a_real_server_and_are_answered(start: Start) -> None:
    """No report in a window would be a division by zero."""
    (cost_us,) = measure_cost(start, 4, settle_s=0.5, windows=1)
    assert 0.0 < cost_us < 100_000.0
