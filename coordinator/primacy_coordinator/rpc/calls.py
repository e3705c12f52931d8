"""What every servicer needs: a group by name, commands, reads and watches, failing in the callers' terms."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

import grpc.aio
from primacy_wire.errors import NotFound, Unavailable
from primacy_wire.instant import Now

from primacy_coordinator.core.effects import Topic
from primacy_coordinator.core.events import Event
from primacy_coordinator.core.group import Group
from primacy_coordinator.rpc.fields import Fields, group_name
from primacy_coordinator.rpc.refusals import shell_error
from primacy_coordinator.shell.alerting import Alerting
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.failures import ShellError
from primacy_coordinator.shell.monitoring import Monitoring, Watched
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.store.api import EventFilter, StoredEvent, StoreError

T = TypeVar("T")

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

JOURNAL_SECONDS_MAX = 2


class Calls:
    """The servicers' way to the groups. Every method raises `primacy_wire.errors` and nothing else."""

    def __init__(
        self, coordinator: Coordinator, monitoring: Monitoring | None = None, alerting: Alerting | None = None
    ) -> None:
        self.coordinator = coordinator
        self._monitoring = monitoring
        self._alerting = alerting

    def runner(self, group: str, path: str = "group") -> Runner:
        """The group of that name; empty means `default`. One that does not exist is never made by a typo."""
        name = group_name(group)
        fields = Fields()
        fields.name(path, name)
        fields.check()
        runner = self.coordinator.runner(name)
        if runner is None:
            raise NotFound("group", name, "CreateGroup makes one, ListGroups shows those that exist")
        return runner

    @property
    def monitoring(self) -> Monitoring:
        if self._monitoring is None:
            raise Unavailable("this coordinator measures nothing", "NOT_MEASURED")
        return self._monitoring

    @property
    def alerting(self) -> Alerting:
        if self._alerting is None:
            raise Unavailable("this coordinator looks for no alerts", "NOT_MEASURED")
        return self._alerting

    def watched(self, group: str) -> Watched:
        """What monitoring knows of a group that exists."""
        found = self.monitoring.watched(self.runner(group).name)
        if found is None or found.monitor.second < 0:
            raise Unavailable("nothing is measured of this group yet: try again", "NOT_MEASURED")
        return found

    async def read(self, group: str, take: Callable[[Group, Now], T]) -> T:
        """A copy that `take` makes of the group, once it is durable (I7)."""
        try:
            return await self.runner(group).read(take)
        except ShellError as error:
            raise shell_error(error) from error

    async def command(self, group: str, make: Callable[[int], Event]) -> object:
        """Posts the command that `make` builds around a request number, and returns its value."""
        try:
            return await self.runner(group).command(make)
        except ShellError as error:
            raise shell_error(error) from error

    async def append(self, group: str, make: Callable[[int], Event], content_bytes: int) -> object:
        """The same for an append of so many bytes, which may wait long and has room of its own."""
        try:
            return await self.runner(group).append(make, content_bytes)
        except ShellError as error:
            raise shell_error(error) from error

    async def watch(
        self, group: str, topics: frozenset[Topic], take: Callable[[Group, Now], T]
    ) -> AsyncGenerator[T, None]:
        """The full current value, then again after each change of the topics."""
        async with aclosing(self.runner(group).watch(topics, take)) as values:
            try:
                async for value in values:
                    yield value
            except ShellError as error:
                raise shell_error(error) from error

    async def events(self, wanted: EventFilter, count: int, newest_first: bool = True) -> tuple[StoredEvent, ...]:
        """Entries of the journal of a group that exists."""
        self.runner(wanted.group)
        try:
            async with asyncio.timeout(JOURNAL_SECONDS_MAX):
                return await self.coordinator.history.events(wanted, count, newest_first)
        except (StoreError, TimeoutError) as error:
            raise Unavailable(f"the journal cannot be read: {error}", "JOURNAL_TROUBLE") from error

    async def journal_beyond(self, group: str, sequence: int) -> None:
        """Waits until the group's journal has an entry with a higher number."""
        try:
            await self.runner(group).journal_beyond(sequence)
        except ShellError as error:
            raise shell_error(error) from error
