"""One stream of the state-of-the-world protocol, without its I/O.

`heard` takes requests as they come and answers nothing. `take` gives what is to be sent next, built from the newest
snapshot when there is room for it: a slow client is never sent what is out of date, and nothing queues up for it.

1. A request whose nonce is that of the newest response of its type accepts or rejects it. An older nonce is of a
   request that crossed with that response, and is ignored: the client repeats what it wants when it answers the newest.
2. A nonce that was never sent changes nothing.
3. A rejected response is not sent again. What differs from it is.
4. A client that asks again for what it has accepted waits for an answer: Envoy does so for the endpoints of a cluster
   that changed. Such endpoints are therefore owed as soon as their cluster is sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, IN_FULL, SHORT
from primacy_agent.dataplane.xds.snapshot import Resource, Snapshot, combined_version
from primacy_agent.dataplane.xds.subscriptions import (
    ALL,
    Heard,
    Rejection,
    Stream,
    Subscription,
    check_names,
    check_type,
)


@dataclass(frozen=True, slots=True)
class WorldRequest:
    type_url: str
    names: tuple[str, ...] = ()
    nonce: str = ""
    """Of the response that it answers; empty: of none."""
    error: str | None = None
    """Why that response is rejected; None: it is accepted."""


@dataclass(frozen=True, slots=True)
class WorldResponse:
    type_url: str
    version: str
    nonce: str
    resources: tuple[Resource, ...]


class WorldStream(Stream):
    """What one client follows."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        super().__init__(snapshot)
        self.subscriptions: dict[str, Subscription] = {}
        """By type."""

    def heard(self, request: WorldRequest) -> tuple[Heard, Rejection | None]:
        """Raises InvalidRequest, which ends the stream; nothing has changed then."""
        check_type(request.type_url, self.subscriptions)
        check_names("resourceNames", request.names)
        known = self.subscriptions.get(request.type_url)
        if known is not None and known.nonces_count and request.nonce and not known.is_newest(request.nonce):
            return (Heard.STALE if known.was_sent(request.nonce) else Heard.BOGUS), None
        if known is None:
            known = self.subscriptions[request.type_url] = Subscription(request.type_url)
        changed = _set_names(known, request.names)
        if not known.nonces_count or not request.nonce:
            # In the first request of a type, a nonce is of a stream before this one.
            known.owed = True
            return Heard.SUBSCRIBED, None
        if request.error is not None:
            known.owed = known.owed or changed
            return Heard.NACK, known.nacked(request.error)
        if known.answered:
            known.owed = known.owed or changed or not known.rejection
            return Heard.SUBSCRIBED, None
        known.owed = known.owed or changed
        known.acked()
        return Heard.ACK, None

    def take(self) -> WorldResponse | None:
        """What is to be sent next; None: nothing now."""
        if self.snapshot is None:
            return None
        for type_url in SHORT:
            subscription = self.subscriptions.get(type_url)
            if subscription is None:
                continue
            wanted = self._wanted(subscription)
            if subscription.owed and not wanted and subscription.names & self.withheld(type_url):
                continue  # An empty answer would say that there is nothing.
            if subscription.owed or {one.name: one.version for one in wanted} != subscription.sent:
                return self._send(subscription, wanted)
        return None

    def _wanted(self, subscription: Subscription) -> tuple[Resource, ...]:
        named = self.named(subscription.type_url)
        if subscription.wildcard:
            return tuple(named.values())
        return tuple(one for name, one in named.items() if name in subscription.names)

    def _send(self, subscription: Subscription, wanted: tuple[Resource, ...]) -> WorldResponse:
        before = subscription.sent
        subscription.sent = {one.name: one.version for one in wanted}
        subscription.owed = False
        subscription.sent_version = combined_version(wanted)
        if subscription.type_url == CLUSTER:
            endpoints = self.subscriptions.get(ENDPOINTS)
            changed = {name for name, version in subscription.sent.items() if before.get(name) != version}
            if endpoints is not None and (endpoints.wildcard or changed & endpoints.names):
                endpoints.owed = True
        return WorldResponse(subscription.type_url, subscription.sent_version, subscription.next_nonce(), wanted)


def _set_names(subscription: Subscription, names: tuple[str, ...]) -> bool:
    """Whether that makes a difference. Naming none means all only for types that come in full, and only until the
    client has named some: then it means none."""
    wanted = set(names)
    wildcard = ALL in wanted
    wanted.discard(ALL)
    if not names and subscription.type_url in IN_FULL and not subscription.has_named:
        wildcard = True
    subscription.has_named = subscription.has_named or bool(names)
    changed = wanted != subscription.names or wildcard != subscription.wildcard
    subscription.names, subscription.wildcard = wanted, wildcard
    return changed
