"""The shell keeps the machine's promises: order, durability, readers, refusals of the store, stalls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest
from primacy_coordinator.core.effects import CloseReason, RefusalKind, Topic
from primacy_coordinator.core.events import Event, RegisterRegion
from primacy_coordinator.core.model import RegionSettings, RegionStatus
from primacy_coordinator.core.views import RegionView
from primacy_coordinator.shell.failures import CommandRefused, GroupGone, Overloaded, StoreTrouble
from primacy_coordinator.shell.requests import COMMANDS_COUNT_MAX
from primacy_coordinator.store.api import EventFilter
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Answer, Offer, Welcome

from tests.unit.coordinator.shells import Life, Shell


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with Shell(tmp_path) as running:
        yield running


def register(name: str) -> Any:
    return lambda number: RegisterRegion(number, name, RegionSettings())


async def spin(count: int = 20) -> None:
    """Lets everything run that can run without the disk."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_nothing_is_told_before_it_is_durable(shell: Shell) -> None:
    """I7: the welcome of an agent that the store does not know yet waits for the disk."""
    shell.store.shut()
    life = await Life(shell, "eu").open()
    await spin()
    assert shell.store.waiting_count > 0
    assert life.stream.written == []
    shell.store.open()
    await life.until(Welcome)
    assert isinstance(life.stream.written[0], Welcome)


async def test_an_offer_waits_for_its_epoch(shell: Shell) -> None:
    """I2: the epoch is durable before anyone hears of it."""
    life = await Life(shell, "eu").join()
    await life.report()
    shell.store.shut()
    async with asyncio.timeout(5):
        while not shell.store.waiting_count:
            await life.report()
            await asyncio.sleep(0.02)
    await spin()
    assert life.got(Offer) == 0
    shell.store.open()
    await life.until(Offer)


async def test_answers_overtake_what_waits_for_the_disk(shell: Shell) -> None:
    life = await Life(shell, "eu").become_active()
    shell.store.shut()
    command = asyncio.create_task(shell.runner.command(register("us")))
    await spin()
    assert (await life.report()).renews
    assert not command.done()
    shell.store.open()
    assert isinstance(await command, RegionView)


async def test_readers_never_see_what_is_not_durable(shell: Shell) -> None:
    """I7: a copy taken while a batch is pending is shown only when the batch is on disk."""
    shell.store.shut()
    command = asyncio.create_task(shell.runner.command(register("us")))
    await spin()
    reader = asyncio.create_task(shell.runner.read(lambda machine, now: machine.region_view(now, "us")))
    await spin()
    assert not reader.done()
    shell.store.open()
    await command
    assert (await reader) is not None


async def test_what_the_store_refuses_never_happened(shell: Shell) -> None:
    shell.store.refuse = "the disk is full"
    shell.store.shut()
    command = asyncio.create_task(shell.runner.command(register("us")))
    await spin()
    reader = asyncio.create_task(shell.runner.read(lambda machine, now: machine.region_view(now, "us")))
    await spin()
    shell.store.open()
    with pytest.raises(StoreTrouble, match="disk is full"):
        await command
    assert (await reader) is None
    assert shell.runner.trouble == "the disk is full"
    shell.store.refuse = ""
    assert isinstance(await shell.runner.command(register("us")), RegionView)
    assert shell.runner.trouble == ""


async def test_a_full_disk_costs_no_lease_and_does_not_spin(shell: Shell) -> None:
    """The machine is loaded again and again, ever more slowly; the lease is renewed all the while."""
    life = await Life(shell, "eu").become_active()
    loads = shell.store.load_count
    shell.store.refuse = "the disk is full"
    began = time.monotonic()
    answers = renewals = 0
    while time.monotonic() - began < 2.5:
        if shell.runner.trouble == "" or renewals == answers:
            # Something that needs the disk is asked for all the time.
            asyncio.create_task(shell.runner.command(register(f"r{answers}"))).add_done_callback(
                lambda t: t.exception()
            )
        if shell.runner.loaded:
            answers += 1
            renewals += (await life.report()).renews
        await asyncio.sleep(0.05)
    assert answers > 20
    assert renewals == answers
    # 0.25 s, 0.5 s, 1 s, … between refusals.
    assert 2 <= shell.store.load_count - loads <= 5
    shell.store.refuse = ""
    async with asyncio.timeout(10):
        while True:
            try:
                await shell.runner.command(register("later"))
                break
            except StoreTrouble:
                await asyncio.sleep(0.05)
    assert (await life.report()).renews
    lease = await shell.runner.read(lambda machine, now: machine.lease_view(now))
    assert (lease.active_region, lease.epoch) == ("eu", life.epoch)


async def test_sessions_are_introduced_to_a_new_machine(shell: Shell) -> None:
    life = await Life(shell, "eu").join()
    shell.store.refuse = "no"
    with pytest.raises(StoreTrouble):
        await shell.runner.command(register("us"))
    shell.store.refuse = ""
    async with asyncio.timeout(5):
        while life.got(Welcome) < 2:
            life.stream.changed.clear()
            await life.stream.changed.wait()
    view = await shell.runner.read(lambda machine, now: machine.region_view(now, "eu"))
    assert view is not None
    assert [agent.connected for agent in view.agents] == [True]


async def test_a_bug_in_the_machine_loads_it_anew(shell: Shell) -> None:
    life = await Life(shell, "eu").become_active()
    loads = shell.store.load_count
    shell.runner.post(cast("Event", object()))
    assert not shell.runner.loaded
    async with asyncio.timeout(5):
        while not shell.runner.loaded:
            await asyncio.sleep(0.01)
    assert shell.store.load_count == loads + 1
    assert (await life.report()).renews


async def test_commands_are_bounded(shell: Shell) -> None:
    shell.store.shut()
    commands = [
        asyncio.create_task(shell.runner.command(register(f"r{number}"))) for number in range(COMMANDS_COUNT_MAX)
    ]
    await spin()
    with pytest.raises(Overloaded):
        await shell.runner.command(register("one-more"))
    shell.store.open()
    assert all(isinstance(view, RegionView) for view in await asyncio.gather(*commands))


async def test_a_refusal_reaches_the_caller(shell: Shell) -> None:
    await shell.runner.command(register("us"))
    with pytest.raises(CommandRefused) as caught:
        await shell.runner.command(register("us"))
    assert caught.value.refusal.kind is RefusalKind.ALREADY_EXISTS


async def test_a_caller_that_went_away_leaves_nothing_behind(shell: Shell) -> None:
    shell.store.shut()
    command = asyncio.create_task(shell.runner.command(register("us")))
    await spin()
    command.cancel()
    await asyncio.gather(command, return_exceptions=True)
    shell.store.open()
    # It was decided all the same.
    assert await shell.runner.read(lambda machine, now: machine.region_view(now, "us")) is not None


async def test_a_watch_sends_the_full_value_then_changes(shell: Shell) -> None:
    names = shell.runner.watch(
        frozenset({Topic.REGIONS}), lambda machine, now: [r.record.name for r in machine.view(now).regions]
    )
    async with asyncio.timeout(5), aclosing(names):
        assert await anext(names) == []
        waiting = asyncio.ensure_future(anext(names))
        await spin()
        assert not waiting.done()
        await asyncio.gather(*(shell.runner.command(register(name)) for name in ("us", "eu", "ap")))
        assert await waiting == ["ap", "eu", "us"]


async def test_watches_end_when_the_group_closes(shell: Shell) -> None:
    values = shell.runner.watch(frozenset({Topic.REGIONS}), lambda machine, now: machine.lease_view(now))
    await anext(values)
    waiting = asyncio.ensure_future(anext(values))
    await spin()
    shell.runner.stop()
    with pytest.raises(GroupGone):
        await waiting


async def test_a_stall_of_our_own_makes_nobody_suspect(shell: Shell) -> None:
    """Silence while our own loop stood still is ours; what arrived meanwhile is handled before any deadline."""
    life = await Life(shell, "eu").become_active()
    for _ in range(3):
        await life.report()
        await asyncio.sleep(0.1)
    time.sleep(1.5)  # noqa: ASYNC251  # the fault: the loop stands still for six report intervals
    await spin()
    assert shell.stalls.count == 1
    assert 1.0 < shell.stalls.longest_ns / SECOND_NS < 5.0
    await life.report()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        assert (await life.report()).renews
    view = await shell.runner.read(lambda machine, now: machine.region_view(now, "eu"))
    assert view is not None
    assert view.verdict.status is not RegionStatus.DOWN
    events = await shell.history.events(EventFilter("default", kinds=("region-status",)), 100)
    assert not [event for event in events if "SUSPECT" in event.message.upper() or "DOWN" in event.message.upper()]


async def test_a_group_that_may_go_handles_nothing_any_more(shell: Shell) -> None:
    life = await Life(shell, "eu").join()
    assert await shell.runner.retire(validate_only=True) == 0
    await life.report()
    assert await shell.runner.retire(validate_only=False) == 0
    assert shell.runner.retired
    written = len(life.stream.written)
    shell.runner.dismiss(CloseReason.DEREGISTERED, "GROUP_NOT_FOUND", "gone")
    await spin()
    assert life.stream.aborted is not None
    assert len(life.stream.written) == written
    with pytest.raises(GroupGone):
        await shell.runner.command(register("us"))


async def test_a_group_with_a_lease_out_stays(shell: Shell) -> None:
    life = await Life(shell, "eu").become_active()
    with pytest.raises(CommandRefused) as caught:
        await shell.runner.retire(validate_only=False)
    assert caught.value.refusal.rule == "LEASE_HELD"
    assert (await life.report()).renews


async def test_the_journal_tells_its_readers(shell: Shell) -> None:
    last = shell.runner.journal_sequence
    waiting = asyncio.create_task(shell.runner.journal_beyond(last))
    await spin()
    assert not waiting.done()
    await shell.runner.command(register("us"))
    await asyncio.wait_for(waiting, 5)
    events = await shell.history.events(EventFilter("default", after=last), 10)
    assert "region-registered" in {event.kind for event in events}


async def test_answers_are_written_where_the_report_was_read(shell: Shell) -> None:
    """No task, no queue hop: the answer is on the wire when `end_inline` returns."""
    life = await Life(shell, "eu").join()
    before = len(asyncio.all_tasks())
    answer = await life.report()
    assert isinstance(answer, Answer)
    assert len(asyncio.all_tasks()) == before
