"""Every way in which weights are handed on, side by side: what is wrong with one is no matter of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from primacy_agent.core.traffic import Traffic

logger = logging.getLogger(__name__)

Tell = Callable[[str, str, bool], None]
"""(name of an event, what happened, whether somebody should look): into the coordinator's journal."""


class Output(Protocol):
    """One way. Everything runs on the event loop's thread."""

    @property
    def name(self) -> str:
        """`xds`, `haproxy`, `file` or `hook`."""

    @property
    def address(self) -> str:
        """Where it is, for people."""

    @property
    def version(self) -> int:
        """The version of the weights that it handed on last; 0: none yet."""

    @property
    def trouble(self) -> str:
        """What is wrong with it now, for people; empty: nothing."""

    def apply(self, traffic: Traffic) -> None:
        """Hand it on. Returns at once: what takes time goes on in the background. Called again with the same value
        after nothing that concerns it has changed."""

    async def start(self) -> None:
        """Begin. Raises `primacy_wire.server.ListenError` where it cannot listen: then the agent does not start."""

    async def close(self) -> None:
        """End, and leave data planes with what they have."""


class Outputs:
    """All that are switched on."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.all = tuple(sorted(outputs, key=lambda output: output.name))

    async def start(self) -> None:
        for output in self.all:
            await output.start()

    def apply(self, traffic: Traffic) -> None:
        for output in self.all:
            output.apply(traffic)

    async def close(self) -> None:
        for output in self.all:
            await output.close()
