"""What a demonstration sends, and what it breaks: believable, the same for the same seed, and put back."""

from __future__ import annotations

import statistics
from pathlib import Path

import click
import pytest
from primacy_cli.demo.counts import COUNTS_FILE, Counts, RegionCounts, counts_text, read_counts
from primacy_cli.demo.demand import DAY_S, Demand
from primacy_cli.demo.faults import (
    KINDS,
    PRICES,
    Decide,
    Fault,
    Faults,
    Freeze,
    Kill,
    Primacy,
    Start,
    Surge,
    Target,
    Thaw,
)
from primacy_cli.local.plan import DEMO_POLICY
from primacy_cli.main import cli
from primacy_wire.policy_file import policy_from_text

TARGETS = tuple(
    Target(name, (f"{name} service 1", f"{name} service 2"), (f"{name} agent",), "a:1", ("s:1", "s:2"), 100.0)
    for name in ("us-east", "eu-west", "ap-south")
)


def day(seed: str, longitude: float = 0.0) -> list[float]:
    demand = Demand(30.0, longitude, seed)
    return [demand.at(second) for second in range(int(DAY_S))]


def test_demand_is_the_wanted_mean_with_days_noise_and_bursts() -> None:
    rates = [rate for seed in "abcdefgh" for rate in day(seed)]
    assert statistics.fmean(rates) == pytest.approx(30.0, rel=0.2)
    assert min(rates) > 0
    assert max(rates) > 1.8 * statistics.fmean(rates), "bursts stand out"
    assert max(rates) < 30 * 7


def test_the_sun_comes_round_where_the_region_lies() -> None:
    quarter = int(DAY_S / 4)
    here, opposite = (
        statistics.fmean(statistics.fmean(day(seed, longitude)[quarter - 30 : quarter + 30]) for seed in "abcdefgh")
        for longitude in (0.0, 180.0)
    )
    assert here > 1.5 * opposite


def test_the_same_seed_is_the_same_day() -> None:
    assert day("us-east") == day("us-east") != day("eu-west")


def test_counts_are_read_as_they_were_written_and_nothing_else_is_taken_for_them(tmp_path: Path) -> None:
    assert read_counts(tmp_path) is None
    counts = Counts({"eu": RegionCounts(reads=7, failed=1, rate=31.4), "us": RegionCounts(writes=2, trouble="away")})
    counts.write(tmp_path)
    assert read_counts(tmp_path) == counts
    assert counts_text(counts) == "31 requests/s (eu 31/s, us 0/s), 1 reads failed, 2 writes kept, us: away"
    for text in ("", "[]", '{"eu": {"unknown": 1}}', '{"eu": 3}'):
        (tmp_path / COUNTS_FILE).write_text(text)
        assert read_counts(tmp_path) is None


def faults(seed: int, count: int = 9 * len(KINDS)) -> list[Fault]:
    dealer = Faults(seed)
    return [dealer.next(TARGETS, "us-east") for _ in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_puts_back_what_it_took_and_every_kind_comes_soon(seed: int) -> None:
    found = faults(seed)
    assert found == faults(seed)
    for fault in found:
        acts = [act for _, act in fault.steps]
        at = [when for when, _ in fault.steps]
        assert at == sorted(at) and at[-1] <= fault.length_s
        killed, started = ({act.title for act in acts if isinstance(act, kind)} for kind in (Kill, Start))
        frozen, thawed = ({act.title for act in acts if isinstance(act, kind)} for kind in (Freeze, Thaw))
        assert killed == started and frozen == thawed
        assert all(act.clients > 100 * 0.02 for act in acts if isinstance(act, Surge)), "more than it has slots"
    for first in range(0, len(found), len(KINDS)):
        assert {fault.kind for fault in found[first : first + len(KINDS)]} == set(KINDS)
    assert sum("us-east" in fault.said for fault in found) > len(found) / 3, "the active region is hit often"


def test_the_only_region_is_never_drained_and_disagrees_with_nobody() -> None:
    dealer = Faults(1)
    assert {dealer.next(TARGETS[:1], "us-east").kind for _ in range(20)} == {*KINDS} - {"drain", "conflict"}


def test_those_who_disagree_are_two_and_the_policy_lets_an_operator_decide() -> None:
    for fault in (fault for fault in faults(4) if fault.kind == "conflict"):
        writes = [act.words for _, act in fault.steps if isinstance(act, Primacy)]
        first, second = ("of: " + name for name in fault.said.split("; ")[1].split(" change ")[0].split(" and "))
        assert first != second and first in writes[0][3] and second in writes[1][3]
        assert [act for _, act in fault.steps if isinstance(act, Decide)] == [Decide(PRICES)]
    policies = policy_from_text(DEMO_POLICY).conflict_policies
    assert {prefix: PRICES.startswith(prefix) for prefix in policies} == {"demo/prices": True}


def test_commands_of_faults_are_such_as_the_program_takes() -> None:
    words = {
        act.words for seed in range(4) for fault in faults(seed) for _, act in fault.steps if isinstance(act, Primacy)
    }
    assert {each[0] for each in words} == {"drain", "undrain", "config"}
    for each in words:
        command: click.Command = cli
        rest = list(each)
        while isinstance(command, click.Group):
            _, found, rest = command.resolve_command(click.Context(command), rest)
            assert found is not None, each
            command = found
        # Raises what a user would see of an option that is not there.
        command.make_context(command.name, rest, resilient_parsing=False).close()
