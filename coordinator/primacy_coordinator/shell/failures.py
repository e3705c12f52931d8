"""Why a group's machine could not be asked, or what it said no with."""

from __future__ import annotations

from primacy_coordinator.core.effects import Refusal


class ShellError(Exception):
    """A machine could not be asked, or said no.

    ShellError
    +-- CommandRefused   the machine said no
    +-- Overloaded       too much waits already
    +-- StoreTrouble     the store refuses writes, so nothing new can be decided or shown
    `-- GroupGone        the group, or the whole coordinator, is closing
    """


class CommandRefused(ShellError):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Overloaded(ShellError):
    pass


class StoreTrouble(ShellError):
    pass


class GroupGone(ShellError):
    pass
