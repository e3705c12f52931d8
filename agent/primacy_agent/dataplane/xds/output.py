"""The xDS server as one of the ways in which weights are handed on."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence, Set

from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS
from primacy_wire.server import listen, make_server

from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.addresses import Places
from primacy_agent.dataplane.config import UNIX, XdsConfig
from primacy_agent.dataplane.kept_addresses import KeptAddresses
from primacy_agent.dataplane.outputs import Counted, Figure, Tell, XdsClientView
from primacy_agent.dataplane.resolving import Lookup, Resolver, look_up
from primacy_agent.dataplane.xds.building import build_assignments, build_frame, freeze, problems_of
from primacy_agent.dataplane.xds.loads import Loads
from primacy_agent.dataplane.xds.serving import Discovery
from primacy_agent.dataplane.xds.subscriptions import Rejection

STOP_S = 0.2
REJECTION_AGAIN_NS = 600 * SECOND_NS
"""The same reason is told again after so long, however many versions are rejected for it: weights change all the time,
and the journal is kept on a disk."""
REJECTIONS_TOLD_MAX = 100
"""So many different ones in that time; all of them are counted, and shown while they last."""


class XdsOutput:
    """Publishes a snapshot whenever the weights, or what the endpoints' names stand for, have changed."""

    name = "xds"

    def __init__(
        self,
        config: XdsConfig,
        resolve_interval_s: float,
        group: str,
        tell: Tell,
        counted: Counted,
        lookup: Lookup = look_up,
        kept: KeptAddresses | None = None,
    ) -> None:
        self._config = config
        self._address = config.address
        self._tell = tell
        self._resolver = Resolver(resolve_interval_s, self._publish, lookup, kept)
        self._traffic: Traffic | None = None
        self._inconsistent = ""
        self._missing: dict[str, str] = {}
        self._without: Set[str] = frozenset()
        """Those of them that have no address at all."""
        self._told: dict[tuple[str, str], int] = {}
        """(type, reason) to when it was told last."""
        self._tellings: deque[int] = deque()
        """When rejections were told, the oldest first."""
        self._is_rejected = False
        """A rejection was told, and not yet that there is none any more."""
        self.loads = Loads(group, counted)
        self.discovery = Discovery(self._rejected, self._accepted)
        self._server = make_server()
        for handler in (*self.discovery.handlers(), self.loads.handler()):
            self._server.add_generic_rpc_handlers((handler,))

    @property
    def address(self) -> str:
        return self._address

    @property
    def version(self) -> int:
        snapshot = self.discovery.snapshot
        return snapshot.weights_version if snapshot is not None else 0

    @property
    def trouble(self) -> str:
        found = [self._inconsistent] if self._inconsistent else []
        found += [f"region {region}: {problem}" for region, problem in sorted(self._missing.items())]
        found += [
            f"{client.node or client.peer} rejects {_noun(one.type_url)} {one.sent_version}: {one.rejection}"
            for client in self.clients()
            for one in client.subscriptions
            if one.rejection
        ]
        return "; ".join(found)

    def clients(self) -> Sequence[XdsClientView]:
        """Who follows it now."""
        return self.discovery.views()

    def apply(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self.loads.traffic = traffic
        self._resolver.follow(traffic.endpoints)
        self._publish()

    async def start(self) -> None:
        port = listen(self._server, self._config.address, insecure=True)  # The settings were checked for exposure.
        if not self._config.address.startswith(UNIX):
            self._address = f"{self._config.address.rpartition(':')[0]}:{port}"
        await self._server.start()

    async def close(self) -> None:
        self._resolver.close()
        self.discovery.close()
        self.loads.close()
        await self._server.stop(STOP_S)

    def figures(self) -> Iterator[Figure]:
        """For Prometheus."""
        incremental = sum(client.incremental for client in self.clients())
        yield Figure("xds_clients", incremental, {"protocol": "incremental"})
        yield Figure("xds_clients", len(self.clients()) - incremental, {"protocol": "world"})
        for (what, kind), count in sorted(self.discovery.counts.items()):
            if what == "push":
                yield Figure("xds_pushes_total", count, {"type": kind})
            else:
                yield Figure("xds_answers_total", count, {"type": kind, "answer": what})
        yield Figure("xds_load_reports_total", self.loads.reports_count)
        snapshot = self.discovery.snapshot
        if snapshot is not None:
            yield Figure("xds_resources", sum(len(named) for named in snapshot.resources.values()))

    # ---- from what is known to what is published

    def _publish(self) -> None:
        traffic = self._traffic
        if traffic is None:
            return
        places = self._resolver.places
        before = self.discovery.snapshot
        if before is None and places.waiting & _used(traffic):
            return  # The names of endpoints are being looked up: it calls again.
        if places.problems or self._missing:
            self._say_missing(traffic, places)
        frame = build_frame(traffic.group, self._config.protocol, traffic.panic_threshold)
        assignments, withheld = build_assignments(traffic, places, before)
        problems = [*problems_of(frame, assignments, withheld)]
        self._say_inconsistent(problems)
        if problems:
            return
        snapshot = freeze(frame, assignments, withheld, traffic.version)
        if snapshot != before:
            self.discovery.publish(snapshot)

    def _say_missing(self, traffic: Traffic, places: Places) -> None:
        used = _used(traffic)
        missing = {region: problem for region, problem in places.problems.items() if region in used}
        without = missing.keys() - places.addresses.keys()
        found = sorted(self._without - without)
        for region in found:
            how = "has its endpoint again" if region in places.addresses else "needs no endpoint any more"
            self._tell("endpoint-found", f"Region {region} {how}.", False)
        for region, problem in missing.items():
            # One that was found takes back whatever was said to be missing: what still is, is said again.
            if self._missing.get(region) == problem and not (found and region in without):
                continue
            if region in without:
                self._tell("endpoint-missing", f"Region {region} gets no traffic by xDS: {problem}.", True)
            else:
                self._tell("endpoint-stale", f"Region {region}: {problem}.", True)
        self._missing, self._without = missing, without

    def _say_inconsistent(self, problems: Sequence[str]) -> None:
        said = f"not published, the last one stays: {'; '.join(problems)}" if problems else ""
        if said and said != self._inconsistent:
            self._tell("dataplane-inconsistent", f"xDS: {said}.", True)
        elif self._inconsistent and not said:
            self._tell("dataplane-consistent", "xDS: what comes now is whole, and is published.", False)
        self._inconsistent = said

    def _rejected(self, node: str, rejection: Rejection) -> None:
        now_ns = read_now().mono_ns
        while self._tellings and now_ns - self._tellings[0] >= REJECTION_AGAIN_NS:
            self._tellings.popleft()
        self._told = {kind: at_ns for kind, at_ns in self._told.items() if now_ns - at_ns < REJECTION_AGAIN_NS}
        kind = (rejection.type_url, rejection.reason)
        if (self._is_rejected and kind in self._told) or len(self._tellings) >= REJECTIONS_TOLD_MAX:
            return
        self._told[kind] = now_ns
        self._tellings.append(now_ns)
        self._is_rejected = True
        self._tell(
            "dataplane-rejected",
            f"{node or 'A client without a name'} rejects {_noun(rejection.type_url)} {rejection.version}, and keeps "
            f"what it had: {rejection.reason}",
            True,
        )

    def _accepted(self) -> None:
        """A client took what it was sent. Who left while rejecting has taken nothing: that may be back in a moment."""
        if self._is_rejected and not any(one.rejection for client in self.clients() for one in client.subscriptions):
            self._is_rejected = False
            self._tell("dataplane-accepted", "xDS: no client rejects what it is sent any more.", False)


def _used(traffic: Traffic) -> frozenset[str]:
    """Regions that something would be sent to."""
    return frozenset(
        [region for row in (traffic.read, traffic.write) for region, share in row if share > 0] + list(traffic.fallback)
    )


def _noun(type_url: str) -> str:
    return type_url.rpartition(".")[2]
