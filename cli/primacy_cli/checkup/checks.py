"""One thing that was looked at, how it is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    OK = 0
    WARN = 1
    """It works now; look at it before you need it."""
    FAIL = 2
    """Something that a failover needs does not work."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    level: Level
    found: str
    """How it is, in one sentence."""
    advice: str = ""
    """What to do; empty when it is well."""


def well(name: str, found: str) -> Check:
    return Check(name, Level.OK, found)


def warn(name: str, found: str, advice: str) -> Check:
    return Check(name, Level.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    return Check(name, Level.FAIL, found, advice)
