"""The state folder: what this agent must remember over a restart, and what its service may read from a file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
from primacy_wire.clock import boot_id
from primacy_wire.daemon import FolderError, StateFolder, write_file
from primacy_wire.messages import agent_key

from primacy_agent.core.memory import Memory
from primacy_agent.core.views import ActiveView

MEMORY_FILE = "memory.json"
ACTIVE_FILE = "active.json"


class AgentState:
    """A locked folder bound to one agent of one group."""

    def __init__(self, path: Path, group: str, region: str, agent: str) -> None:
        """Take the folder and read its memory. Raises FolderError, and then has changed nothing in it."""
        self.path = path
        self._owner = {"group": group, "agent": agent_key(region, agent)}
        self._folder = StateFolder(path, "primacy-agent")
        self._boot_id = boot_id()
        self.rebooted = self._was_shown_in() not in ("", self._boot_id)
        """The machine was down since an earlier life of this agent."""
        try:
            self.memory = self._read()
        except BaseException:
            self._folder.close()
            raise

    def _read(self) -> Memory:
        path = self._folder.path / MEMORY_FILE
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return self._bind(path)
        except OSError as error:
            raise FolderError(f"{path}: {error.strerror}") from error
        try:
            kept = json.loads(content)
            owner = kept["owner"]
            memory = msgspec.convert(kept["memory"], Memory)
        except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
            raise FolderError(
                f"{path} is damaged ({error}) and was left as it is: restore it, or, if this agent may be forgotten, "
                "give it a new name and an empty folder"
            ) from error
        if owner != self._owner:
            raise FolderError(
                f"{self._folder.path} belongs to agent {owner.get('agent')} of group {owner.get('group')}, not to "
                f"{self._owner['agent']} of {self._owner['group']}: give each agent a state folder of its own"
            )
        return memory

    def _bind(self, path: Path) -> Memory:
        """Write whose folder this is, before anything is remembered in it."""
        memory = Memory()
        try:
            self.keep(memory)
        except OSError as error:
            raise FolderError(f"{path}: cannot be written: {error.strerror}") from error
        return memory

    def keep(self, memory: Memory) -> None:
        """Make the memory durable (I7). Raises OSError. Called from a thread of its own."""
        content = json.dumps({"owner": self._owner, "memory": msgspec.to_builtins(memory)}, indent=1)
        write_file(self._folder.path / MEMORY_FILE, content.encode() + b"\n")

    def show(self, view: ActiveView) -> None:
        """Replace the file that a service may read instead of asking. Not durable: it means nothing after a boot.

        A reader compares `deadline_boottime_ns` with its own CLOCK_BOOTTIME at each use, if the boot id is its own.
        """
        content = {
            "active": view.active,
            "epoch": view.epoch,
            "phase": view.phase.name,
            "region": view.region,
            "deadline_boottime_ns": view.deadline_mono_ns if view.active else 0,
            "boot_id": self._boot_id,
        }
        path = self._folder.path / ACTIVE_FILE
        beside = path.with_suffix(".new")
        beside.write_text(json.dumps(content) + "\n")
        os.replace(beside, path)

    def _was_shown_in(self) -> str:
        """The boot in which the file for services was last written, or nothing."""
        try:
            return str(json.loads((self._folder.path / ACTIVE_FILE).read_bytes())["boot_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""  # It means nothing after a boot, so it may be damaged.

    def close(self) -> None:
        self._folder.close()
