"""Three-way merge of documents, field by field, and what differs between two, for people.

A field that only one side changed is taken from there. One that both changed alike is taken once. One that both changed
differently is a clash: objects are merged in turn, everything else is decided by who wrote later. Lists and single
values are taken whole: what happened inside a list cannot be told from its ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Absent(Enum):
    """A field that is not there; None is a value."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Merged:
    value: Any
    """ABSENT: the document is gone."""
    clashes: tuple[str, ...]
    """JSON pointers (RFC 6901) of what both had changed differently, sorted; empty pointer: the whole."""


def merge(base: Any, first: Any, second: Any, second_wins: bool) -> Merged:
    """Merge two versions of `base`; where both changed a field differently, `second_wins` says which one stays."""
    clashes: list[str] = []
    value = _merge(base, first, second, second_wins, "", clashes)
    return Merged(value, tuple(sorted(clashes)))


def _merge(base: Any, first: Any, second: Any, second_wins: bool, at: str, clashes: list[str]) -> Any:
    if same(first, second) or same(base, second):
        return first
    if same(base, first):
        return second
    if isinstance(first, dict) and isinstance(second, dict):
        common = base if isinstance(base, dict) else {}
        found: dict[str, Any] = {}
        for key in [*first, *(key for key in second if key not in first)]:
            value = _merge(
                common.get(key, ABSENT),
                first.get(key, ABSENT),
                second.get(key, ABSENT),
                second_wins,
                f"{at}/{escaped(key)}",
                clashes,
            )
            if value is not ABSENT:
                found[key] = value
        return found
    clashes.append(at)
    return second if second_wins else first


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON's eyes: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return (type(one) is type(other) and one == other) or (_are_numbers(one, other) and one == other)


def _are_numbers(one: Any, other: Any) -> bool:
    return isinstance(one, int | float) and isinstance(other, int | float)


def escaped(key: str) -> str:
    """A key as a part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two documents differ."""

    pointer: str
    before: Any
    """ABSENT: it was not there."""
    after: Any


def differences(before: Any, after: Any, at: str = "") -> Iterator[Difference]:
    """Every place where `after` differs from `before`, in the order of the documents."""
    if same(before, after):
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), f"{at}/{escaped(key)}")
        return
    yield Difference(at, before, after)
