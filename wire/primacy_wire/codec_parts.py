"""What both directions of the session codec need: lineages, memberships, and the collector of bad fields."""

from __future__ import annotations

from collections.abc import Iterable

from primacy.v1 import agent_service_pb2

from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.messages import Lineage, Membership
from primacy_wire.names import NAME_RULE, is_name

INFINITY = float("inf")
TEXT_MAX = 1024
"""Characters of an id, an address or a reason."""


class Checks:
    """Collects every field of one message that cannot be. `prefix` is the message's name in the session."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.bad: list[BadField] = []

    def refuse(self, path: str, advice: str) -> None:
        self.bad.append(BadField(f"{self._prefix}.{path}", advice))

    def name(self, path: str, value: str) -> None:
        if not is_name(value):
            self.refuse(path, NAME_RULE)

    def agent(self, path: str, value: str) -> None:
        """`REGION/AGENT`."""
        region, slash, agent = value.partition("/")
        if not (slash and is_name(region) and is_name(agent)):
            self.refuse(path, "must be REGION/AGENT")

    def text(self, path: str, value: str, required: bool = False) -> None:
        if required and not value:
            self.refuse(path, "must not be empty")
        elif len(value) > TEXT_MAX:
            self.refuse(path, f"must be at most {TEXT_MAX} characters")

    def count(self, path: str, value: int, least: int = 0) -> None:
        if value < least:
            self.refuse(path, f"must be {least} or more")

    def number(self, path: str, value: float, least: float = 0.0, most: float = INFINITY) -> None:
        """Finite, and least <= value <= most."""
        if not (least <= value <= most and value < INFINITY):
            self.refuse(path, f"must be {least:g} to {most:g}" if most < INFINITY else f"must be {least:g} or more")

    def lineage(self, path: str, value: Lineage) -> None:
        self.text(f"{path}.storeId", value.store_id)
        self.text(f"{path}.runId", value.run_id)
        self.count(f"{path}.revision", value.revision)

    def membership(self, path: str, value: Membership) -> None:
        self.count(f"{path}.version", value.version)
        for index, agent in enumerate(value.agents):
            self.agent(f"{path}.agents[{index}]", agent)

    def shares(self, path: str, pairs: Iterable[tuple[str, float]]) -> None:
        for region, share in pairs:
            self.number(f"{path}.{region}", share, most=1.0)

    def finish(self) -> None:
        """Raises InvalidRequest if any field was bad."""
        if self.bad:
            raise InvalidRequest(*self.bad)


def lineage_to_proto(value: Lineage) -> agent_service_pb2.Lineage:
    return agent_service_pb2.Lineage(store_id=value.store_id, run_id=value.run_id, revision=value.revision)


def lineage_from_proto(proto: agent_service_pb2.Lineage) -> Lineage:
    return Lineage(proto.store_id, proto.run_id, proto.revision)


def membership_to_proto(value: Membership) -> agent_service_pb2.Membership:
    return agent_service_pb2.Membership(version=value.version, agents=value.agents)


def membership_from_proto(proto: agent_service_pb2.Membership) -> Membership:
    return Membership(proto.version, tuple(proto.agents))
