"""All groups of one coordinator, on one store."""

from __future__ import annotations

import logging
from collections.abc import Callable

from primacy_wire.clock import read_now
from primacy_wire.names import DEFAULT_GROUP

from primacy_coordinator.core.effects import CloseReason
from primacy_coordinator.core.events import SetPolicy
from primacy_coordinator.core.model import Policy
from primacy_coordinator.shell.brake import Brake
from primacy_coordinator.shell.failures import GroupGone, Overloaded, StoreTrouble
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.shell.stalls import Stalls
from primacy_coordinator.store.api import GroupRow, History, StateStore, StoreError

logger = logging.getLogger(__name__)

START_OWNER = "the coordinator's configuration"


class Coordinator:
    """The groups and what they share: store, journal, and the watch over this process's own stalls."""

    def __init__(self, store: StateStore, history: History, failovers_max: int = 0) -> None:
        """`failovers_max`: groups that may fail over at once; 0: any number."""
        self.store = store
        self.history = history
        self.stalls = Stalls(self.runners)
        self.brake = Brake(failovers_max)
        self.started_wall_ns = read_now().wall_ns
        self.troubles: dict[str, Callable[[], str]] = {}
        """What works beside the groups -> why it does not; each adds itself."""
        self.on_deleted: list[Callable[[str], None]] = []
        """Told of every group that is deleted, by what works beside the groups."""
        self.ready = False
        """Every group that the store holds is loaded."""
        self._runners: dict[str, Runner] = {}
        self._changing: set[str] = set()
        """Groups that are being made or deleted."""

    async def start(self, policy: Policy | None) -> None:
        """Loads every group; a new store gets the group `default`. `policy` is for groups that never had one.

        Raises `StoreError` when the store cannot be read, and `CommandRefused` when a group refuses the policy.
        """
        rows = await self.store.groups()
        if not rows:
            rows = (await self.store.create_group(DEFAULT_GROUP, self.started_wall_ns),)
        self.stalls.start()
        for row in rows:
            if not row.deleted_wall_ns:
                await self._run(row, policy)
        self.ready = True

    async def close(self) -> None:
        """Stops deciding, and sends every agent away to come again. What was submitted is finished by the store."""
        self.ready = False
        self.stalls.stop()
        for runner in self._runners.values():
            runner.dismiss(CloseReason.DEAF, "STOPPING", "the coordinator is stopping: connect again")
            runner.stop()

    def runner(self, name: str) -> Runner | None:
        return self._runners.get(name)

    def runners(self) -> tuple[Runner, ...]:
        return tuple(self._runners.values())

    def warnings(self) -> list[str]:
        """What an operator should look at, though the coordinator works."""
        found = [f"group {r.name}: {r.trouble}" for r in self._runners.values() if r.trouble]
        if self.history.trouble:
            found.append(f"journal: {self.history.trouble}")
        found += [f"{name}: {text}" for name, trouble in self.troubles.items() if (text := trouble())]
        return found

    async def create(self, name: str, policy: Policy | None) -> Runner:
        """Makes a group that does not exist. Raises `ShellError`."""
        self._begin_change(name)
        try:
            row = await self.store.create_group(name, read_now().wall_ns)
            runner = await self._run(row, policy)
        except StoreError as error:
            raise StoreTrouble(str(error)) from error
        finally:
            self._changing.discard(name)
        return runner

    async def delete(self, runner: Runner, validate_only: bool) -> int:
        """Ends a group under which no lease is out, and returns its last epoch. Raises `ShellError`."""
        self._begin_change(runner.name)
        try:
            epoch = await runner.retire(validate_only)
            if validate_only:
                return epoch
            row = GroupRow(runner.name, runner.created_wall_ns)
            runner.dismiss(CloseReason.DEREGISTERED, "GROUP_NOT_FOUND", f"group {runner.name!r} is deleted")
            runner.stop()
            del self._runners[runner.name]
            try:
                await self.store.delete_group(runner.name, read_now().wall_ns, epoch)
            except StoreError as error:
                await self._run(row, None)
                raise StoreTrouble(str(error)) from error
            for tell in self.on_deleted:
                tell(runner.name)
        except StoreError as error:
            raise StoreTrouble(str(error)) from error
        finally:
            self._changing.discard(runner.name)
        return epoch

    async def set_policy(self, policy: Policy) -> None:
        """Sets the policy of the default group. Raises `ShellError`."""
        runner = self._runners.get(DEFAULT_GROUP)
        if runner is None:
            raise GroupGone(f"there is no group {DEFAULT_GROUP!r}")
        await runner.command(lambda number: SetPolicy(number, policy, owner=START_OWNER))

    def _begin_change(self, name: str) -> None:
        if name in self._changing:
            raise Overloaded(f"group {name!r} is being made or deleted already; try again")
        self._changing.add(name)

    async def _run(self, row: GroupRow, policy: Policy | None) -> Runner:
        runner = Runner(row, self.store, self.history, self.stalls, self.brake)
        await runner.start()
        self._runners[row.name] = runner
        if policy is not None and not runner.policy_stored:
            await runner.command(lambda number: SetPolicy(number, policy, owner=START_OWNER))
        return runner
