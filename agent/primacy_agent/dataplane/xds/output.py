"""The xDS server as one of the ways in which weights are handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
        self._told: dict[tuple[str, str], int] = {}
        """(type, reason) to when it was told, the oldest first."""
        self.loads = Loads(group, counted)
        self.discovery = Discovery(self._rejected)
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
        for region, problem in missing.items():
            if self._missing.get(region) == problem:
                continue
            if region in places.addresses:
                self._tell("endpoint-stale", f"Region {region}: {problem}.", True)
            else:
                self._tell("endpoint-missing", f"Region {region} gets no traffic by xDS: {problem}.", True)
        for region in sorted(self._missing.keys() - missing.keys()):
            if region in places.addresses and region in used:
                self._tell("endpoint-found", f"Region {region} has its endpoint again.", False)
        self._missing = missing

    def _say_inconsistent(self, problems: Sequence[str]) -> None:
        said = f"not published, the last one stays: {'; '.join(problems)}" if problems else ""
        if said and said != self._inconsistent:
            self._tell("dataplane-inconsistent", f"xDS: {said}.", True)
        self._inconsistent = said

    def _rejected(self, node: str, rejection: Rejection) -> None:
        now_ns = read_now().mono_ns
        while self._told and now_ns - next(iter(self._told.values())) >= REJECTION_AGAIN_NS:
            del self._told[next(iter(self._told))]
        kind = (rejection.type_url, rejection.reason)
        if kind in self._told or len(self._told) >= REJECTIONS_TOLD_MAX:
            return
        self._told[kind] = now_ns
        self._tell(
            "dataplane-rejected",
            f"{node or 'A client without a name'} rejects {_noun(rejection.type_url)} {rejection.version}, and keeps "
            f"what it had: {rejection.reason}",
            True,
        )


def _used(traffic: Traffic) -> frozenset[str]:
    """Regions that something would be sent to."""
    return frozenset(
        [region for row in (traffic.read, traffic.write) for region, share in row if share > 0] + list(traffic.fallback)
    )


def _noun(type_url: str) -> str:
    return type_url.rpartition(".")[2]
