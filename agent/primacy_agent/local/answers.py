"""What the agent answers about itself, as messages; gRPC and HTTP show the same."""

from __future__ import annotations

import random
from typing import TypeVar

from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import agent_pb2, replication_pb2, routing_pb2
from primacy_wire.clock import read_now
from primacy_wire.codec_log import metrics_to_proto
from primacy_wire.errors import BadField, InvalidRequest, NotFound, Unavailable
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Phase
from primacy_wire.picker import Picker
from primacy_wire.session_codec import load_to_proto

from primacy_agent.core.traffic import Row
from primacy_agent.core.views import ActiveView
from primacy_agent.local.dataplane import render_outputs
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
        self._row: Row = ()
        self._picker = Picker(())

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
        rows = self._node.rows
        traffic = rows.traffic
        answer = pb.GetWeightsResponse(version=0)
        if traffic is None:
            return answer
        answer.version = traffic.version
        answer.row.client_region = traffic.region
        answer.age.FromNanoseconds(rows.age_ns(read_now()))
        if traffic_class == WRITE:
            answer.row.weights.update(traffic.write)
            return answer
        answer.row.weights.update(traffic.read)
        answer.shunned.extend(traffic.shunned)
        answer.strategy = routing_pb2.RoutingStrategy.ValueType(traffic.strategy)
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
        own = node.config.region
        view = node.active()
        strategy = node.rows.traffic.strategy if node.rows.traffic is not None else 0
        if view.frozen and view.remaining_ns:
            trouble = f"writes are frozen while {own} hands over"
        elif view.phase is Phase.PROMOTING:
            trouble = f"{own} is active, and its service is being promoted"
        elif view.region == own and not view.remaining_ns and not node.session.connected:
            trouble = f"the lease of {own} ran out here, and no coordinator can be reached"
        elif not view.region:
            trouble = "no region is active just now"
        else:
            node.routes.add(own, view.region, WRITE, strategy, "ok")
            return pb.RouteResponse(
                region=view.region,
                endpoint=self._endpoint(view.region),
                reason=f"{view.region} is active at epoch {view.active_epoch}",
                epoch=view.active_epoch,
            )
        node.routes.add(own, "", WRITE, strategy, "not_active")
        raise Unavailable(trouble, "NO_ACTIVE_REGION", RETRY_NS)

    def _route_read(self, key: str) -> pb.RouteResponse:
        node = self._node
        own = node.config.region
        traffic = node.rows.traffic
        row = traffic.read if traffic is not None else ()
        if row != self._row:
            self._row, self._picker = row, Picker(row)
        if traffic is None or not self._picker:
            node.routes.add(own, "", READ, traffic.strategy if traffic is not None else 0, "no_weight")
            raise Unavailable("no weights are known yet", "NO_WEIGHTS", RETRY_NS)
        region = self._picker.pick_affine(key) if key else self._picker.pick(self._draw.random())
        node.routes.add(own, region, READ, traffic.strategy, "ok")
        how = "by its key" if key else "at random"
        reason = f"{how}, by a share of {dict(row)[region]:.1%} of {own}'s reads"
        if traffic.shunned:
            reason += f"; {', '.join(traffic.shunned)} cannot be reached from here"
        return pb.RouteResponse(
            region=region,
            endpoint=self._endpoint(region),
            reason=reason,
            alternatives=self._picker.alternatives(region),
            epoch=traffic.active_epoch,
        )

    def _endpoint(self, region: str) -> str:
        traffic = self._node.rows.traffic
        return dict(traffic.endpoints).get(region, "") if traffic is not None else ""

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
            replication=self._replication(),
            group_metrics=self._group_metrics(),
            data_plane=render_outputs(node.outputs),
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

    def _replication(self) -> pb.ReplicationStatus:
        replication = self._node.replication
        replicator, progress = replication.replicator, replication.replicator.progress
        doing = [
            f"fetching {done:,} of {total:,} bytes of entry {sequence}"
            for sequence, (done, total) in sorted(replicator.fetching.items())
        ]
        doing += [trouble for trouble in (replication.journal.trouble, replication.outbox.trouble) if trouble]
        return pb.ReplicationStatus(
            received=progress.received,
            settled=progress.settled,
            head=replicator.replica.head,
            parked=[
                replication_pb2.ParkedEntry(
                    sequence=note.sequence,
                    key=note.key,
                    agent=self._node.key,
                    reason=note.reason,
                    attempts=note.attempts,
                )
                for note in progress.parked
            ],
            queued=replication.outbox.waiting,
            doing="; ".join(doing),
            receiving=replication.fetcher.receiving,
        )

    def _group_metrics(self) -> list[pb.RegionMetrics]:
        now_ns = read_now().mono_ns
        found = []
        for kept in self._node.replication.metrics.regions():
            shown = pb.RegionMetrics(snapshot=metrics_to_proto(kept.snapshot))
            shown.age.FromNanoseconds(max(0, now_ns - kept.came_ns))
            found.append(shown)
        return found

    def _peers(self) -> list[pb.PeerStatus]:
        now_ns = read_now().mono_ns
        found = []
        for sight in self._node.peers.all():
            peer = pb.PeerStatus(
                region=sight.region,
                agent=sight.agent,
                address=sight.address,
                reachable=sight.reachable,
                lost=sight.lost or sight.idle,
                reason=sight.why,
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
