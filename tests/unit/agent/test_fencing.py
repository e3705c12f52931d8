"""Sinks refuse what an epoch wrote that is over, whatever happens to them."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_agent.fencing import Fence, FenceBroken, MissingEpoch, StaleEpoch, epoch_from, parse_epoch


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fence"


def test_what_is_lower_than_the_highest_is_refused_also_after_a_restart(path: Path) -> None:
    fence = Fence(path)
    assert fence.highest == 0
    for epoch in (3, 3, 7):
        fence.admit(epoch)
    for again in (fence, Fence(path)):
        with pytest.raises(StaleEpoch, match="epoch 6 is over: epoch 7 has written here") as refused:
            again.admit(6)
        assert (refused.value.epoch, refused.value.highest) == (6, 7)
        again.admit(7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 12)), max_size=40))
def test_two_processes_of_one_sink_know_the_same_highest(writes: list[tuple[int, int]]) -> None:
    """A model of one number says the same as two fences on one file."""
    with tempfile.TemporaryDirectory() as folder:
        fences = [Fence(Path(folder) / "fence"), Fence(Path(folder) / "fence")]
        highest = 0
        for which, epoch in writes:
            if epoch < highest:
                with pytest.raises(StaleEpoch):
                    fences[which].admit(epoch)
            else:
                fences[which].admit(epoch)
                highest = epoch


def _writes(path: Path, epochs: range) -> None:
    fence = Fence(path)
    for epoch in epochs:
        with contextlib.suppress(StaleEpoch), fence.admitted(epoch), path.with_name("sink").open("a") as sink:
            sink.write(f"{epoch}\n")


def test_what_two_processes_admit_at_the_same_time_never_goes_back(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_writes, args=(path, range(1, 400, step))) for step in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    written = [int(line) for line in path.with_name("sink").read_text().split()]
    assert written == sorted(written) and len(written) >= 200 and Fence(path).highest == 399


def test_a_higher_epoch_waits_for_a_write_that_was_let_in(path: Path) -> None:
    fence, order = Fence(path), []
    inside, may_end = threading.Event(), threading.Event()

    def slow() -> None:
        with fence.admitted(1):
            inside.set()
            may_end.wait(10)
            order.append(1)

    def quick() -> None:
        with Fence(path).admitted(2):
            order.append(2)

    first, second = threading.Thread(target=slow), threading.Thread(target=quick)
    first.start()
    assert inside.wait(10)
    second.start()
    may_end.set()
    first.join(10)
    second.join(10)
    assert order == [1, 2]


def test_a_crash_in_the_middle_of_a_write_leaves_the_old_epoch_or_the_new_one(path: Path) -> None:
    Fence(path).admit(99)
    old = path.read_bytes()
    Fence(path).admit(100)
    new = path.read_bytes()
    found = []
    for cut in range(len(new) + 1):
        path.write_bytes(new[:cut] + old[cut:])
        found.append(Fence(path).highest)
    assert set(found) == {99, 100} and found == sorted(found)
    assert found[len(new) // 2] == 100, "one whole copy is enough"


def test_a_fence_that_holds_nothing_admits_nothing(path: Path) -> None:
    path.write_bytes(b"?" * 58)
    with pytest.raises(FenceBroken, match="holds no epoch"):
        Fence(path)


def test_a_fence_that_cannot_be_opened_admits_nothing(tmp_path: Path) -> None:
    with pytest.raises(FenceBroken, match="cannot be opened: No such file or directory"):
        Fence(tmp_path / "nowhere" / "fence")


@pytest.mark.parametrize("text", ["", "0", "-1", "1.0", "one", "٣", "9" * 30, " 5", str(1 << 63)])
def test_what_is_no_epoch_is_refused(text: str, path: Path) -> None:
    with pytest.raises(MissingEpoch):
        parse_epoch(text)
    with pytest.raises(MissingEpoch, match="names no epoch"):
        epoch_from({"Content-Type": text})


def test_the_header_is_found_in_any_case() -> None:
    assert epoch_from({"primacy-EPOCH": "12"}) == 12
    assert parse_epoch(b"7") == 7
