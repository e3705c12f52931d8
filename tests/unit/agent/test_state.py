"""The state folder: whose it is, what it remembers, what a service reads in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from primacy_agent.core.lease import ActiveView, Memory
from primacy_agent.state import AgentState
from primacy_wire.clock import boot_id
from primacy_wire.daemon import FolderError, FolderLocked
from primacy_wire.messages import Lineage, Membership, Phase

MEMORY = Memory(Lineage("store", "run", 7), 5, Membership(3, ("eu/one", "us/one")), 4)


def test_a_new_life_remembers_what_was_kept(tmp_path: Path) -> None:
    state = AgentState(tmp_path, "default", "eu", "one")
    assert state.memory == Memory()
    state.keep(MEMORY)
    state.close()
    again = AgentState(tmp_path, "default", "eu", "one")
    assert again.memory == MEMORY
    again.close()


@pytest.mark.parametrize("other", [("default", "eu", "two"), ("default", "us", "one"), ("shop", "eu", "one")])
def test_a_folder_of_another_agent_is_refused_and_left_alone(tmp_path: Path, other: tuple[str, str, str]) -> None:
    state = AgentState(tmp_path, "default", "eu", "one")
    state.keep(MEMORY)
    state.close()
    before = (tmp_path / "memory.json").read_bytes()
    with pytest.raises(FolderError, match="belongs to agent eu/one of group default"):
        AgentState(tmp_path, *other)
    assert (tmp_path / "memory.json").read_bytes() == before
    AgentState(tmp_path, "default", "eu", "one").close()  # The refused one holds no lock.


def test_a_folder_is_bound_before_anything_is_kept_in_it(tmp_path: Path) -> None:
    AgentState(tmp_path, "default", "eu", "one").close()
    with pytest.raises(FolderError, match="belongs to agent eu/one"):
        AgentState(tmp_path, "default", "us", "one")


def test_one_process_has_it_at_a_time(tmp_path: Path) -> None:
    state = AgentState(tmp_path, "default", "eu", "one")
    with pytest.raises(FolderLocked, match="has this state folder"):
        AgentState(tmp_path, "default", "eu", "one")
    state.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": {}}', '{"owner": {}, "memory": {"heard_epoch": "x"}}'])
def test_a_damaged_memory_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / "memory.json").write_text(content)
    with pytest.raises(FolderError, match="is damaged"):
        AgentState(tmp_path, "default", "eu", "one")
    assert (tmp_path / "memory.json").read_text() == content


def test_a_service_reads_the_deadline_with_the_boot_that_it_counts_from(tmp_path: Path) -> None:
    state = AgentState(tmp_path, "default", "eu", "one")
    view = ActiveView(True, Phase.ACTIVE, 5, "eu", 5, 10, 1234, False, "")
    state.show(view)
    assert json.loads((tmp_path / "active.json").read_text()) == {
        "active": True,
        "epoch": 5,
        "phase": "ACTIVE",
        "region": "eu",
        "deadline_boottime_ns": 1234,
        "boot_id": boot_id(),
    }
    state.show(ActiveView(False, Phase.STANDBY, 5, "us", 6, 0, 1234, False, "the lease ran out"))
    shown = json.loads((tmp_path / "active.json").read_text())
    assert (shown["active"], shown["region"], shown["deadline_boottime_ns"]) == (False, "us", 0)
    state.close()
