"""The settings of hooks: the programs that make the service what the lease says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import msgspec
from primacy_wire.durations import Duration
from primacy_wire.instant import MILLISECOND_NS, SECOND_NS
from primacy_wire.yaml_text import Path

from primacy_agent.core.hooks import HookKind, HookSettings

TIMEOUT_NS_MIN = 100 * MILLISECOND_NS
TIMEOUT_NS_MAX = 3600 * SECOND_NS


class HooksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Each hook: a program and its arguments. It must be idempotent: it runs again after a restart of the agent."""

    on_promote: list[str] = []
    """Runs when this region takes the lease; the agent is ACTIVE when it has exited 0."""
    on_demote: list[str] = []
    """Runs when the lease goes: before a release is acknowledged, or after it ran out."""
    promote_timeout: Duration = Duration.of("60s")
    """Then it is killed, and the lease is given up."""
    demote_timeout: Duration = Duration.of("5s")
    """Then it is killed, the release goes out, and the hook is tried again."""

    def argv(self) -> dict[HookKind, list[str]]:
        """The hooks that there are."""
        both = {HookKind.ON_PROMOTE: self.on_promote, HookKind.ON_DEMOTE: self.on_demote}
        return {kind: argv for kind, argv in both.items() if argv}

    def settings(self, group: str) -> HookSettings:
        return HookSettings(
            group, bool(self.on_promote), bool(self.on_demote), self.promote_timeout, self.demote_timeout
        )

    def faults(self) -> Iterator[tuple[Path, str]]:
        """What is wrong with them, by key."""
        for key, argv in (("onPromote", self.on_promote), ("onDemote", self.on_demote)):
            if argv and (trouble := program_problem(argv[0])):
                yield ("hooks", key), f"{argv[0]!r}: {trouble}"
            if any("\0" in word for word in argv):
                yield ("hooks", key), "must have no NUL character"
        for key, timeout in (("promoteTimeout", self.promote_timeout), ("demoteTimeout", self.demote_timeout)):
            if not TIMEOUT_NS_MIN <= timeout <= TIMEOUT_NS_MAX:
                yield ("hooks", key), f"must be from {Duration(TIMEOUT_NS_MIN)} to {Duration(TIMEOUT_NS_MAX)}"


def program_problem(program: str) -> str:
    """Why a hook's program cannot be started, or nothing."""
    expected = "must be the absolute path of an executable file, or the name of one on PATH"
    if "/" not in program:
        return "" if program and shutil.which(program) else f"is not on PATH: {expected}"
    if not os.path.isabs(program):
        return f"is a relative path: {expected}"
    if not os.path.exists(program):
        return f"there is no such file: {expected}"
    if not os.path.isfile(program):
        return f"is not a file: {expected}"
    return "" if os.access(program, os.X_OK) else f"this user may not execute it: {expected} (chmod +x)"
