"""Everything that clients can be sent, at one instant: a frozen value that is published as a whole or not at all.

Versions are hashes of contents: a server that starts anew says the same of the same, so that clients which say what
they hold (the incremental protocol) are sent what they lack and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

VERSION_LENGTH = 16


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that clients can be sent."""

    name: str
    version: str
    body: bytes
    """The message, serialized."""


Named = Mapping[str, Resource]
_NOTHING: Named = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of them. What it names it has, but for what is withheld. Those with the same versions are the same."""

    weights_version: int
    """The coordinator's."""
    version: str
    resources: Mapping[str, Named] = field(compare=False)
    """By type and name."""
    withheld: frozenset[str]
    """Names of endpoint assignments that are not known yet: clients that ask for them wait."""

    def of(self, type_url: str) -> Named:
        """By name, sorted."""
        return self.resources.get(type_url, _NOTHING)


def digest(parts: Iterable[bytes]) -> str:
    """Version of what is made of these."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(b"%d:%b" % (len(part), part))
    return hashed.hexdigest()[:VERSION_LENGTH]


def combined_version(resources: Iterable[Resource]) -> str:
    """Version of several resources together."""
    return digest(f"{one.name} {one.version}".encode() for one in resources)
