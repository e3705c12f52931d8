"""Appends and commands wait side by side, each within its bound, and whoever goes away is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from primacy_coordinator.core.effects import Refusal, RefusalKind
from primacy_coordinator.core.events import Append, RegisterRegion
from primacy_coordinator.core.log_model import Appended, AppendOutcome, Draft, Durability
from primacy_coordinator.core.model import RegionSettings
from primacy_coordinator.core.views import RegionView
from primacy_coordinator.shell.failures import CommandRefused, Overloaded, StoreTrouble
from primacy_coordinator.shell.requests import (
    APPENDS_BYTES_MAX,
    APPENDS_COUNT_MAX,
    COMMANDS_COUNT_MAX,
    Requests,
)
from primacy_wire.clock import read_now
from primacy_wire.log_messages import EntryKind

from tests.unit.coordinator.shells import Life, Shell

DONE = Appended(1, 1, AppendOutcome.APPENDED)


def draft(entry_id: str, key: str = "app/limits", epoch: int = 0) -> Draft:
    return Draft(
        entry_id, EntryKind.CONFIG, key, "ab" * 32, 2, 0, read_now().wall_ns, 0, epoch, "eu", "eu/one", b"{}", "json"
    )


async def test_however_many_appends_wait_a_command_finds_room_and_the_other_way_round() -> None:
    requests = Requests("default")
    with ExitStack() as stack:
        for _ in range(APPENDS_COUNT_MAX):
            stack.enter_context(requests.append(1))
        with pytest.raises(Overloaded, match="4096 appends"):
            stack.enter_context(requests.append(1))
        for _ in range(COMMANDS_COUNT_MAX):
            stack.enter_context(requests.command())
        with pytest.raises(Overloaded, match="256 commands"):
            stack.enter_context(requests.command())
    with requests.append(1), requests.command():
        pass
    assert requests.append_count == 0
    assert requests.append_outcomes == {"overloaded": 1}


async def test_documents_that_wait_have_a_bound_in_bytes() -> None:
    requests = Requests("default")
    with requests.append(APPENDS_BYTES_MAX - 10), requests.append(10), pytest.raises(Overloaded), requests.append(1):
        pass
    with requests.append(APPENDS_BYTES_MAX):
        pass


async def test_numbers_are_unique_and_replies_find_their_own() -> None:
    requests = Requests("default")
    with requests.append(0) as (first, one), requests.command() as (second, two):
        assert first != second
        requests.reply(second, "two", None)
        requests.reply(first, None, Refusal(RefusalKind.STALE, "CONFLICT", "no"))
        requests.reply(first, DONE, None)  # Too late: it was answered.
        requests.reply(99, "nobody", None)
        assert await two == "two"
        with pytest.raises(CommandRefused, match="no"):
            await one
    assert requests.append_outcomes == {"conflict": 1}


async def test_what_fails_fails_for_everybody_who_still_waits() -> None:
    requests = Requests("default")
    with requests.append(0) as (number, done), requests.append(0) as (_, one), requests.command() as (_, two):
        requests.reply(number, DONE, None)
        requests.fail(StoreTrouble("full"))
        assert await done == DONE
        for waiting in (one, two):
            with pytest.raises(StoreTrouble):
                await waiting
    assert requests.append_outcomes == {"appended": 1, "unanswered": 1}


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with Shell(tmp_path) as running:
        yield running


async def test_a_caller_that_goes_away_leaves_its_entry_and_no_trace_of_itself(shell: Shell) -> None:
    """It waits for another region, which never takes it; the same id appended again finds the entry."""
    eu = await Life(shell, "eu").become_active()
    await Life(shell, "us").join()
    wanted = draft("a-1", epoch=eu.epoch)
    waiting = asyncio.create_task(shell.runner.append(lambda number: Append(number, wanted, Durability.REGIONS), 2))
    local = await shell.runner.append(lambda number: Append(number, wanted, Durability.LOCAL), 2)
    assert isinstance(local, Appended)
    assert (local.outcome, local.at_risk) == (AppendOutcome.APPENDED, True)
    assert not waiting.done()
    assert shell.runner.requests.append_count == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert shell.runner.requests.append_count == 0
    machine = shell.runner._machine
    assert machine is not None
    assert machine._state.log.waiting == {}
    assert shell.runner.requests.append_outcomes == {"appended": 1, "abandoned": 1}
    assert (await eu.report()).renews


async def test_appends_that_wait_for_another_region_leave_room_for_operators(shell: Shell) -> None:
    await Life(shell, "eu").become_active()
    await Life(shell, "us").join()
    waiting = [
        asyncio.create_task(
            shell.runner.append(lambda number, n=n: Append(number, draft(f"a-{n}", f"k{n}"), Durability.REGIONS), 2)
        )
        for n in range(COMMANDS_COUNT_MAX + 10)
    ]
    view = await shell.runner.command(lambda number: RegisterRegion(number, "ap", RegionSettings()))
    assert isinstance(view, RegionView)
    assert shell.runner.requests.append_count == len(waiting)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert shell.runner.requests.append_count == 0


async def test_a_machine_loaded_after_a_refused_batch_knows_so_until_one_is_taken(shell: Shell) -> None:
    def quiet() -> bool | None:
        machine = shell.runner._machine
        return None if machine is None else machine._state.log.quiet

    await shell.runner.command(lambda number: RegisterRegion(number, "eu", RegionSettings()))
    assert quiet() is False
    shell.store.refuse = "the disk is full"
    with pytest.raises(StoreTrouble):
        await shell.runner.append(lambda number: Append(number, draft("a-1"), Durability.LOCAL), 2)
    async with asyncio.timeout(5):
        while quiet() is None:
            await asyncio.sleep(0.01)
    assert quiet() is True
    shell.store.refuse = ""
    await shell.runner.append(lambda number: Append(number, draft("a-1"), Durability.LOCAL), 2)
    async with asyncio.timeout(5):
        while quiet():
            await asyncio.sleep(0.01)
