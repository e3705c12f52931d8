"""What the agent answers about itself, as messages; gRPC and HTTP show the same."""

from __future__ import annotations

import random
from typing import TypeVar

from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import agent_pb2, replication_pb2, routing_pb2
from primacy_wire.choosing import alternatives, reachable_row
from primacy_wire.clock import read_now
from primacy_wire.codec_log import metrics_to_proto
from primacy_wire.errors import BadField, InvalidRequest, NotFound, Unavailable
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Phase
from primacy_wire.names import NAME_RULE, is_name
from primacy_wire.picker import Picker
from primacy_wire.route_counts import OUTCOMES
from primacy_wire.session_codec import load_to_proto

from primacy_agent.core.traffic import Traffic
from primacy_agent.core.views import ActiveView
from primacy_agent.local.dataplane import render_outputs
from primacy_agent.node import Node

ActiveAnswer = TypeVar("ActiveAnswer", pb.GetActiveResponse, pb.WatchActiveResponse)
READ = routing_pb2.TRAFFIC_CLASS_READ
WRITE = routing_pb2.TRAFFIC_CLASS_WRITE
RETRY_NS = SECOND_NS // 2
AFFINITY_BYTES_MAX = 1024
COUNTS_MAX = 1000
COUNT_NS, OFTEN_NS = SECOND_NS, 3 * SECOND_NS
"""What clients count that tell again and again is taken to be of so long; they tell every second."""
PROBLEMS_SHOWN_MAX = 20


class Answers:
    """Reads a running agent; raises `primacy_wire.errors`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._draw = random.Random()
        self._traffic: Traffic | None = None
        """What the next four are made from."""
        self._endpoints: dict[str, str] = {}
        self._row: dict[str, float] = {}
        self._picker = Picker(())
        self._passed: tuple[str, ...] = ()
        self._count_ns = -OFTEN_NS
        """When clients last told what they counted."""

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
        answer.endpoints.update(traffic.endpoints)
        answer.row.client_region = traffic.region
        answer.age.FromNanoseconds(rows.age_ns(read_now()))
        if traffic_class == WRITE:
            answer.row.weights.update(traffic.write)
            return answer
        answer.row.weights.update(traffic.read)
        answer.shunned.extend(traffic.shunned)
        answer.strategy = routing_pb2.RoutingStrategy.ValueType(traffic.strategy)
        return answer

    def watched_weights(self) -> pb.WatchWeightsResponse:
        """Both rows and what a client needs that picks by itself."""
        rows, traffic = self._node.rows, self._node.rows.traffic
        answer = pb.WatchWeightsResponse(version=0)
        if traffic is None:
            return answer
        answer.version = traffic.version
        answer.read.client_region = answer.write.client_region = traffic.region
        answer.read.weights.update(traffic.read)
        answer.write.weights.update(traffic.write)
        answer.age.FromNanoseconds(rows.age_ns(read_now()))
        answer.strategy = routing_pb2.RoutingStrategy.ValueType(traffic.strategy)
        answer.shunned.extend(traffic.shunned)
        answer.endpoints.update(traffic.endpoints)
        answer.fallback.extend(traffic.fallback)
        return answer

    def route(self, request: pb.RouteRequest) -> pb.RouteResponse:
        """Pick a region for one request, and count it."""
        self.check_group(request.group)
        _check_class(request.traffic_class)
        own = self._node.config.region
        problems = []
        if request.client_region not in ("", own):
            problems.append(BadField("clientRegion", f"this agent knows the row of {own!r} only: ask the coordinator"))
        if len(request.affinity_key.encode()) > AFFINITY_BYTES_MAX:
            problems.append(BadField("affinityKey", f"must be at most {AFFINITY_BYTES_MAX} bytes"))
        for name, value, most in (
            ("latitude", request.location.latitude, 90),
            ("longitude", request.location.longitude, 180),
        ):
            if not -most <= value <= most:  # NaN is none of it.
                problems.append(BadField(f"location.{name}", f"must be a number from -{most} to {most}"))
        if problems:
            raise InvalidRequest(*problems)
        if request.traffic_class == WRITE:
            return self._route_write()
        elsewhere = request.HasField("location") and not request.client_region
        return self._route_read(request.affinity_key, elsewhere)

    def count(self, request: pb.CountRoutesRequest) -> pb.CountRoutesResponse:
        """What the service's own process has routed. Raises InvalidRequest, and then has counted nothing."""
        self.check_group(request.group)
        problems = []
        if len(request.counts) > COUNTS_MAX:
            problems.append(BadField("counts", f"must be at most {COUNTS_MAX}"))
        for index, one in enumerate(request.counts[:COUNTS_MAX]):
            if one.target_region and not is_name(one.target_region):
                problems.append(BadField(f"counts[{index}].targetRegion", NAME_RULE))
            if one.traffic_class not in (0, READ, WRITE):
                problems.append(BadField(f"counts[{index}].trafficClass", "must be a class that this version knows"))
            if one.outcome not in OUTCOMES:
                problems.append(BadField(f"counts[{index}].outcome", f"must be one of {', '.join(OUTCOMES)}"))
            if one.count < 0:
                problems.append(BadField(f"counts[{index}].count", "must be 0 or more"))
        if problems:
            raise InvalidRequest(*problems[:PROBLEMS_SHOWN_MAX])
        now_ns = read_now().mono_ns
        length_ns = COUNT_NS if now_ns - self._count_ns < OFTEN_NS else 0
        self._count_ns = now_ns
        for one in request.counts:
            self._node.counted(one.target_region, one.traffic_class or READ, one.outcome, one.count, length_ns)
        return pb.CountRoutesResponse()

    def _route_write(self) -> pb.RouteResponse:
        node = self._node
        own = node.config.region
        view = node.active()
        if view.frozen and view.remaining_ns:
            trouble = f"writes are frozen while {own} hands over"
        elif view.phase is Phase.PROMOTING:
            trouble = f"{own} is active, and its service is being promoted"
        elif view.region == own and not view.remaining_ns and not node.session.connected:
            trouble = f"the lease of {own} ran out here, and no coordinator can be reached"
        elif not view.region:
            trouble = "no region is active just now"
        else:
            node.counted(view.region, WRITE, "ok", 1)
            endpoint = self._endpoint(view.region)
            known = "" if endpoint else "; nobody has said where its service is"
            return pb.RouteResponse(
                region=view.region,
                endpoint=endpoint,
                reason=f"{view.region} is active at epoch {view.active_epoch}{known}",
                epoch=view.active_epoch,
            )
        node.counted("", WRITE, "not_active", 1)
        raise Unavailable(trouble, "NO_ACTIVE_REGION", RETRY_NS)

    def _route_read(self, key: str, elsewhere: bool) -> pb.RouteResponse:
        """`elsewhere`: the request comes from a place that the caller has named."""
        node = self._node
        own = node.config.region
        traffic = node.rows.traffic
        if traffic is None:
            node.counted("", READ, "no_weight", 1)
            raise Unavailable("no weights are known yet", "NO_WEIGHTS", RETRY_NS)
        if traffic is not self._traffic:
            self._traffic = traffic
            self._endpoints = dict(traffic.endpoints)
            row, self._passed = reachable_row(traffic.read, self._endpoints, traffic.fallback)
            self._row, self._picker = dict(row), Picker(row)
        picker = self._picker
        if not picker:
            node.counted("", READ, "no_weight", 1)
            raise Unavailable("no region may have reads: all are drained", "NO_WEIGHTS", RETRY_NS)
        region = picker.pick_affine(key) if key else picker.pick(self._draw.random())
        node.counted(region, READ, "ok", 1)
        how = "by its key" if key else "at random"
        reason = f"{how}, by a share of {self._row[region]:.1%} of {own}'s reads"
        if elsewhere:
            reason += f"; this agent answers for {own} only, whatever the location"
        if traffic.shunned:
            reason += f"; {', '.join(traffic.shunned)} cannot be reached from here"
        if self._passed:
            reason += f"; {', '.join(self._passed)} passed over: nobody has said where its service is"
        return pb.RouteResponse(
            region=region,
            endpoint=self._endpoint(region),
            reason=reason,
            alternatives=alternatives(picker, region, traffic.fallback, self._endpoints, traffic.shunned),
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
        for sight in self._node.peers.seen():
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
