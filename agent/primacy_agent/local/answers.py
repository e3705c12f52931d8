"""What the agent answers about itself, as messages; gRPC and HTTP show the same."""

from __future__ import annotations

import random
from typing import TypeVar

from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import agent_pb2, routing_pb2
from primacy_wire.clock import read_now
from primacy_wire.errors import BadField, InvalidRequest, NotFound, Unavailable
from primacy_wire.instant import SECOND_NS
from primacy_wire.session_codec import load_to_proto

from primacy_agent.core.lease import ActiveView
from primacy_agent.node import Node

ActiveAnswer = TypeVar("ActiveAnswer", pb.GetActiveResponse, pb.WatchActiveResponse)
READ = routing_pb2.TRAFFIC_CLASS_READ
WRITE = routing_pb2.TRAFFIC_CLASS_WRITE
RETRY_NS = SECOND_NS // 2
AFFINITY_BYTES_MAX = 1024


class Answers:
    """Reads a running agent; raises `primacy_wire.errors`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._draw = random.Random()

    def check_group(self, group: str) -> None:
        if group not in ("", self._node.config.group):
            raise NotFound("group", group, f"this agent belongs to {self._node.config.group!r}")

    def active(self) -> pb.GetActiveResponse:
        return _active(pb.GetActiveResponse(), self._node.active())

    def watched(self) -> pb.WatchActiveResponse:
        return _active(pb.WatchActiveResponse(), self._node.active())

    def weights(self, traffic_class: int) -> pb.GetWeightsResponse:
        """The row of this agent's region."""
        _check_class(traffic_class)
        holder = self._node.holder
        rows = holder.rows
        answer = pb.GetWeightsResponse(version=0)
        if rows is None:
            return answer
        write = traffic_class == WRITE
        answer.version = rows.version
        answer.row.client_region = self._node.config.region
        answer.row.weights.update(rows.write if write else rows.read)
        answer.age.FromNanoseconds(max(0, read_now().mono_ns - holder.rows_received_mono_ns))
        if not write:
            answer.strategy = routing_pb2.RoutingStrategy.ValueType(rows.strategy)
        return answer

    def route(self, request: pb.RouteRequest) -> pb.RouteResponse:
        """Pick a region for one request, and count it."""
        self.check_group(request.group)
        _check_class(request.traffic_class)
        node = self._node
        own = node.config.region
        problems = []
        if request.client_region not in ("", own):
            problems.append(BadField("clientRegion", f"this agent knows the row of {own!r} only: ask the coordinator"))
        if len(request.affinity_key.encode()) > AFFINITY_BYTES_MAX:
            problems.append(BadField("affinityKey", f"must be at most {AFFINITY_BYTES_MAX} bytes"))
        if problems:
            raise InvalidRequest(*problems)
        return self._route_write() if request.traffic_class == WRITE else self._route_read(request.affinity_key)

    def _route_write(self) -> pb.RouteResponse:
        node = self._node
        view = node.holder.active(read_now())
        rows = node.holder.rows
        if not view.region or rows is None:
            if rows is not None:
                node.routes.add(node.config.region, "", WRITE, rows.strategy, "not_active")
            raise Unavailable("no region is active just now", "NO_ACTIVE_REGION", RETRY_NS)
        node.routes.add(node.config.region, view.region, WRITE, rows.strategy, "ok")
        return pb.RouteResponse(
            region=view.region,
            endpoint=self._endpoint(view.region),
            reason=f"{view.region} is active at epoch {view.active_epoch}",
            epoch=view.active_epoch,
        )

    def _route_read(self, key: str) -> pb.RouteResponse:
        node = self._node
        rows, picker = node.holder.rows, node.read_picker
        if rows is None or not picker:
            if rows is not None:
                node.routes.add(node.config.region, "", READ, rows.strategy, "no_weight")
            raise Unavailable("no weights are known yet", "NO_WEIGHTS", RETRY_NS)
        region = picker.pick_affine(key) if key else picker.pick(self._draw.random())
        node.routes.add(node.config.region, region, READ, rows.strategy, "ok")
        share = dict(rows.read)[region]
        how = "by its key" if key else "at random"
        return pb.RouteResponse(
            region=region,
            endpoint=self._endpoint(region),
            reason=f"{how}, by a share of {share:.1%} of {node.config.region}'s reads",
            alternatives=picker.alternatives(region),
            epoch=rows.active_epoch,
        )

    def _endpoint(self, region: str) -> str:
        rows = self._node.holder.rows
        return dict(rows.endpoints).get(region, "") if rows else ""

    def status(self) -> pb.GetStatusResponse:
        """Everything at once."""
        node = self._node
        health = node.probes.health
        answer = pb.GetStatusResponse(
            group=node.config.group,
            region=node.config.region,
            agent=node.config.name,
            incarnation=node.incarnation,
            version=node.version,
            active=self.active(),
            session=self._session(),
            service_state=agent_pb2.ServiceState.ValueType(int(health.state)),
            healthy=health.healthy,
            total=health.total,
            reason=health.reason,
            load=load_to_proto(node.load),
            detail=node.detail(),
            peers=self._peers(),
            read_weights=self.weights(READ),
            write_weights=self.weights(WRITE),
            store_id=node.holder.memory.lineage.store_id,
            heard_epoch=node.holder.memory.heard_epoch,
        )
        answer.start_time.FromNanoseconds(node.started.wall_ns)
        return answer

    def _session(self) -> pb.SessionStatus:
        session, holder = self._node.session, self._node.holder
        answer = pb.SessionStatus(
            connected=session.connected,
            coordinator=session.coordinator,
            sessions=session.sessions_count,
            last_error=session.last_error,
            superseded=holder.superseded,
        )
        if holder.answered_mono_ns:
            answer.last_answer_age.FromNanoseconds(max(0, read_now().mono_ns - holder.answered_mono_ns))
        return answer

    def _peers(self) -> list[pb.PeerStatus]:
        now_ns = read_now().mono_ns
        found = []
        for sight in self._node.peers.all():
            peer = pb.PeerStatus(
                region=sight.region, agent=sight.agent, address=sight.address, reachable=sight.reachable
            )
            if sight.rtt_ns >= 0:
                peer.rtt.FromNanoseconds(sight.rtt_ns)
            peer.age.FromNanoseconds(max(0, now_ns - sight.looked_ns))
            found.append(peer)
        return found


def _active(answer: ActiveAnswer, view: ActiveView) -> ActiveAnswer:
    answer.active = view.active
    answer.phase = agent_pb2.Phase.ValueType(int(view.phase))
    answer.epoch = view.epoch
    answer.region = view.region
    answer.remaining.FromNanoseconds(view.remaining_ns)
    answer.deadline_boottime_ns = view.deadline_mono_ns if view.remaining_ns else 0
    answer.active_epoch = view.active_epoch
    answer.frozen = view.frozen
    answer.reason = "" if view.active else view.reason
    return answer


def _check_class(traffic_class: int) -> None:
    if traffic_class not in (0, READ, WRITE):
        raise InvalidRequest(BadField("trafficClass", "must be TRAFFIC_CLASS_READ or TRAFFIC_CLASS_WRITE"))
