"""Every way in which weights are handed on, side by side: what is wrong with one is no matter of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from primacy_agent.core.traffic import Traffic

logger = logging.getLogger(__name__)

Tell = Callable[[str, str, bool], None]
"""(name of an event, what happened, whether somebody should look): into the coordinator's journal."""


Counted = Callable[[str, int, str, int, int], None]
"""(target region, traffic class, outcome, how many, in how many ns): requests from the own region that a data plane
says it sent."""


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """What one client of the xDS server follows of one type."""

    type_url: str
    resources: tuple[str, ...] = ()
    """Names that it asked for, sorted; empty: all."""
    unknown: tuple[str, ...] = ()
    """Names among them that there are not, sorted."""
    sent_version: str = ""
    acked_version: str = ""
    """What it took last; empty: nothing yet."""
    rejection: str = ""
    """Why it rejected what was sent last; empty: it did not."""
    acks: int = 0
    nacks: int = 0


@dataclass(frozen=True, slots=True)
class XdsClientView:
    """One client of the xDS server, as people are shown it."""

    node: str
    """Id of its node, as it says."""
    user_agent: str
    """Its program and version, as it says."""
    peer: str
    """Where it calls from."""
    incremental: bool
    """It takes changes only, instead of the state of the world."""
    connected_ns: int
    """For how long it has been."""
    subscriptions: tuple[SubscriptionView, ...] = ()
    """Sorted by type."""


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


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of an output, for Prometheus."""

    name: str
    """As in `primacy_agent.local.metrics`, without `primacy_agent_`."""
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class Measured(Protocol):
    """An output that counts what it does."""

    def figures(self) -> Iterable[Figure]:
        """All that it has counted."""


@runtime_checkable
class Followed(Protocol):
    """An output that knows who follows it."""

    def clients(self) -> Sequence[XdsClientView]:
        """Who follows it now."""


class Outputs:
    """All that are switched on."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.all = tuple(sorted(outputs, key=lambda output: output.name))

    async def start(self) -> None:
        for output in self.all:
            await output.start()

    def apply(self, traffic: Traffic) -> None:
        """To each of them. A bug in one costs neither the others their weights nor this agent its lease."""
        for output in self.all:
            try:
                output.apply(traffic)
            except Exception:
                logger.exception("weights could not be handed on", extra={"output": output.name})

    def clients(self) -> list[XdsClientView]:
        """Who follows any of them now, sorted by node."""
        found = [client for output in self.all if isinstance(output, Followed) for client in output.clients()]
        return sorted(found, key=lambda client: (client.node, client.peer))

    def figures(self) -> Iterator[Figure]:
        """What they count, and for each of them what it handed on last and whether something is wrong with it."""
        for output in self.all:
            yield Figure("dataplane_version", output.version, {"output": output.name})
            yield Figure("dataplane_trouble", bool(output.trouble), {"output": output.name})
        for output in self.all:
            if isinstance(output, Measured):
                yield from output.figures()

    async def close(self) -> None:
        for output in self.all:
            await output.close()
