"""How a rule is dropped on purpose: functions of the cores are replaced while a schedule runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Mutation = Callable[[ExitStack], None]
MUTATIONS: dict[str, Mutation] = {}


def mutation(work: Mutation) -> Mutation:
    MUTATIONS[work.__name__] = work
    return work


def swap(stack: ExitStack, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Replace an attribute by what `make` makes of it, until the stack unwinds."""
    old = getattr(owner, name)
    setattr(owner, name, make(old))
    stack.callback(setattr, owner, name, old)


@contextmanager
def mutated(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        MUTATIONS[name](stack)
        yield
