"""What both protocols share: what a client may ask for, and what is remembered of one type on one stream.

Pure: `world` and `incremental` are the two protocols, `serving` is their shell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from primacy_wire.errors import BadField, InvalidRequest

from primacy_agent.dataplane.outputs import SubscriptionView
from primacy_agent.dataplane.xds.kinds import ENDPOINTS, short
from primacy_agent.dataplane.xds.snapshot import Named, Snapshot

ALL = "*"
NAMES_MAX = 1_000
"""Of one type on one stream."""
NAME_LENGTH_MAX = 512
TYPES_MAX = 20
"""On one stream; there are four that anybody is told anything of."""
REASON_LENGTH_MAX = 500
"""Of a client's reason for a rejection; what is over that is cut out of its middle."""
_DUMP = "goo.gle/debug"
"""How the dump of a message begins."""


class Heard(Enum):
    """What a request turned out to be."""

    SUBSCRIBED = auto()
    """It says what the client wants, and nothing of what it was sent."""
    ACK = auto()
    NACK = auto()
    STALE = auto()
    """It answers something that was followed by something newer."""
    BOGUS = auto()
    """It answers something that was never sent."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A client does not take what it was sent."""

    type_url: str
    version: str
    reason: str


@dataclass(slots=True)
class Subscription:
    """One type on one stream. `names` without `wildcard` is all that the client wants of it."""

    type_url: str
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    has_named: bool = False
    """The client named some once, and thereby gave up the short form of asking for all."""
    sent: dict[str, str] = field(default_factory=dict)
    """By name, the version that the client was sent last: taken or not, it is not sent again unasked."""
    nonces_count: int = 0
    sent_version: str = ""
    acked_version: str = ""
    rejection: str = ""
    acks: int = 0
    nacks: int = 0
    owed: bool = False
    """The client waits for an answer, whatever it has been sent."""
    answered: bool = False
    """What was sent last, by an ACK or a NACK."""

    def next_nonce(self) -> str:
        self.nonces_count += 1
        self.answered = False
        return self._nonce(self.nonces_count)

    def is_newest(self, nonce: str) -> bool:
        return self.nonces_count > 0 and nonce == self._nonce(self.nonces_count)

    def was_sent(self, nonce: str) -> bool:
        """Whether it was ever, on this stream and for this type."""
        prefix, dash, number = nonce.partition("-")
        return (
            dash == "-"
            and prefix == short(self.type_url)
            and number.isascii()
            and number.isdigit()
            and len(number) < NONCE_DIGITS_MAX
            and 0 < int(number) <= self.nonces_count
        )

    def acked(self) -> None:
        """The newest."""
        self.acks += 1
        self.acked_version = self.sent_version
        self.rejection = ""
        self.answered = True

    def nacked(self, reason: str) -> Rejection:
        """The newest."""
        self.nacks += 1
        self.rejection = shortened(reason)
        self.answered = True
        return Rejection(self.type_url, self.sent_version, self.rejection)

    def view(self, known: Iterable[str]) -> SubscriptionView:
        """For people; `known` are the names that there are."""
        return SubscriptionView(
            type_url=self.type_url,
            resources=tuple(sorted(self.names)),
            unknown=tuple(sorted(self.names.difference(known))),
            sent_version=self.sent_version,
            acked_version=self.acked_version,
            rejection=self.rejection,
            acks=self.acks,
            nacks=self.nacks,
        )

    def _nonce(self, number: int) -> str:
        return f"{short(self.type_url)}-{number}"


def shortened(reason: str) -> str:
    """A client's reason on one line. Envoy puts a dump of the whole message before it, whose spaces vary."""
    if reason.startswith(_DUMP) and "\n: " in reason:
        reason = reason.rpartition("\n: ")[2]
    text = " ".join(reason.split())
    if len(text) > REASON_LENGTH_MAX:
        half = REASON_LENGTH_MAX // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text or "it gave no reason"


NONCE_DIGITS_MAX = 20
_NOTHING: Named = {}


class Stream:
    """What one client follows."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        """Without a snapshot, whoever asks waits."""
        self.snapshot = snapshot
        """The newest; to be replaced at will."""
        self.hidden: frozenset[str] = frozenset()
        """Types of which there is nothing for this client."""

    def named(self, type_url: str) -> Named:
        """What there is of a type for this client, by name."""
        if self.snapshot is None or type_url in self.hidden:
            return _NOTHING
        return self.snapshot.of(type_url)

    def withheld(self, type_url: str) -> frozenset[str]:
        """Names of which it is not known yet what there is."""
        if self.snapshot is None or type_url != ENDPOINTS:
            return frozenset()
        return self.snapshot.withheld

    def views(self, subscriptions: Mapping[str, Subscription]) -> tuple[SubscriptionView, ...]:
        """For people, sorted by type."""
        return tuple(
            one.view(self.named(kind).keys() | self.withheld(kind)) for kind, one in sorted(subscriptions.items())
        )


def check_type(type_url: str, known: Mapping[str, Subscription]) -> None:
    """Raises InvalidRequest."""
    if not type_url:
        raise InvalidRequest(BadField("typeUrl", "must be set: it says what is asked for"))
    if len(type_url) > NAME_LENGTH_MAX:
        raise InvalidRequest(BadField("typeUrl", f"must be at most {NAME_LENGTH_MAX} characters"))
    if type_url not in known and len(known) >= TYPES_MAX:
        raise InvalidRequest(BadField("typeUrl", f"is one too many: at most {TYPES_MAX} on one stream"))


def check_names(path: str, names: Iterable[str], there: int = 0) -> None:
    """`there` are how many the stream follows already. Raises InvalidRequest."""
    count = there
    for name in names:
        count += 1
        if not name or len(name) > NAME_LENGTH_MAX:
            raise InvalidRequest(BadField(path, f"must be names of 1 to {NAME_LENGTH_MAX} characters"))
    if count > NAMES_MAX:
        raise InvalidRequest(BadField(path, f"must be at most {NAMES_MAX} names"))
