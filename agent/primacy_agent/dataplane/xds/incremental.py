"""One stream of the incremental protocol, without its I/O: clients are sent what changed, and told what is gone.

Like `world`, it takes requests as they come, and gives what is to be sent next from the newest snapshot. A nonce says
which response a request accepts or rejects, and no more: what the request subscribes to counts whatever its nonce.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from primacy_wire.errors import BadField, InvalidRequest

from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, IN_FULL, SHORT
from primacy_agent.dataplane.xds.snapshot import Resource, Snapshot, combined_version
from primacy_agent.dataplane.xds.subscriptions import (
    ALL,
    NAME_LENGTH_MAX,
    NAMES_MAX,
    Heard,
    Rejection,
    Stream,
    Subscription,
    check_names,
    check_type,
)


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    held: tuple[tuple[str, str], ...] = ()
    """(name, version) of what the client has from a stream before this one; counts in the first request of a type."""
    nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class DeltaResponse:
    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


@dataclass(slots=True)
class DeltaSubscription(Subscription):
    """`sent` is what the client holds, as far as this server knows. `owed`: it is answered even with nothing."""

    asked: set[str] = field(default_factory=set)
    """Names whose resource is to be sent whatever the client holds."""
    absent: set[str] = field(default_factory=set)
    """Names that the client was told there is nothing of."""


class DeltaStream(Stream):
    """What one client follows."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        super().__init__(snapshot)
        self.subscriptions: dict[str, DeltaSubscription] = {}
        """By type."""

    def heard(self, request: DeltaRequest) -> tuple[Heard, Rejection | None]:
        """Raises InvalidRequest, which ends the stream; nothing has changed then."""
        check_type(request.type_url, self.subscriptions)
        known = self.subscriptions.get(request.type_url)
        check_names("resourceNamesSubscribe", request.subscribe, len(known.names) if known is not None else 0)
        check_names("resourceNamesUnsubscribe", request.unsubscribe)
        _check_held(request.held)
        if known is None:
            self.subscriptions[request.type_url] = _begin(request)
            return Heard.SUBSCRIBED, None
        heard, rejection = _answered(known, request)
        for name in request.subscribe:
            if name == ALL:
                known.owed = known.owed or not known.wildcard
                known.wildcard = True
                continue
            known.names.add(name)
            known.asked.add(name)
            known.absent.discard(name)
        for name in request.unsubscribe:
            if name == ALL:
                known.wildcard = False
                _forget(known, set(known.sent) - known.names)
            else:
                known.names.discard(name)
                if not known.wildcard:
                    _forget(known, {name})
        return heard, rejection

    def take(self) -> DeltaResponse | None:
        """What is to be sent next; None: nothing now."""
        if self.snapshot is None:
            return None
        for type_url in (*SHORT, *(other for other in self.subscriptions if other not in SHORT)):
            subscription = self.subscriptions.get(type_url)
            if subscription is None:
                continue
            response = self._next(subscription)
            if response is not None:
                return response
        return None

    def _next(self, subscription: DeltaSubscription) -> DeltaResponse | None:
        named = self.named(subscription.type_url)
        wanted = [one for name, one in named.items() if subscription.wildcard or name in subscription.names]
        news = tuple(
            one for one in wanted if one.name in subscription.asked or subscription.sent.get(one.name) != one.version
        )
        followed = subscription.names | (subscription.sent.keys() if subscription.wildcard else set())
        gone = sorted(followed - named.keys() - self.withheld(subscription.type_url) - subscription.absent)
        if not news and not gone and not subscription.owed:
            return None
        subscription.owed = False
        subscription.asked -= {one.name for one in news}
        subscription.asked -= set(gone)
        subscription.absent = (subscription.absent | set(gone)) - {one.name for one in news}
        for name in gone:
            subscription.sent.pop(name, None)
            if name not in subscription.names:
                subscription.absent.discard(name)
        subscription.sent.update({one.name: one.version for one in news})
        subscription.sent_version = combined_version(wanted)
        endpoints = self.subscriptions.get(ENDPOINTS)
        if subscription.type_url == CLUSTER and endpoints is not None:
            # Envoy waits for the endpoints of a cluster that changed, and does not ask for them.
            changed = {one.name for one in news}
            endpoints.asked |= changed if endpoints.wildcard else changed & endpoints.names
        return DeltaResponse(
            subscription.type_url, subscription.sent_version, subscription.next_nonce(), news, tuple(gone)
        )


def _begin(request: DeltaRequest) -> DeltaSubscription:
    names = set(request.subscribe) - {ALL} - set(request.unsubscribe)
    wildcard = ALL in request.subscribe or (not request.subscribe and request.type_url in IN_FULL)
    held = {name: version for name, version in request.held if wildcard or name in names}
    # A client that follows all and holds nothing waits to hear that this is all.
    return DeltaSubscription(request.type_url, wildcard, names, sent=held, owed=wildcard and not held)


def _answered(known: DeltaSubscription, request: DeltaRequest) -> tuple[Heard, Rejection | None]:
    if not request.nonce:
        return Heard.SUBSCRIBED, None
    if not known.was_sent(request.nonce):
        return Heard.BOGUS, None
    if request.error is not None:
        return Heard.NACK, known.nacked(request.error)
    if known.is_newest(request.nonce):
        known.acked()
        return Heard.ACK, None
    known.acks += 1
    return Heard.STALE, None


def _forget(known: DeltaSubscription, names: set[str]) -> None:
    for name in names:
        known.sent.pop(name, None)
    known.asked -= names
    known.absent -= names


def _check_held(held: tuple[tuple[str, str], ...]) -> None:
    if len(held) > NAMES_MAX or any(
        len(name) > NAME_LENGTH_MAX or len(version) > NAME_LENGTH_MAX for name, version in held
    ):
        raise InvalidRequest(
            BadField("initialResourceVersions", f"must be at most {NAMES_MAX}, of at most {NAME_LENGTH_MAX} characters")
        )
