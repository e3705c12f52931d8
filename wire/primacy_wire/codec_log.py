"""The words of the log and of shared metrics, as messages of the session and back."""

from __future__ import annotations

import math
from collections.abc import Iterable

from primacy.v1 import agent_service_pb2 as pb

from primacy_wire.codec_parts import TEXT_MAX, Checks
from primacy_wire.entries import entry_from_proto, entry_to_proto
from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.log_messages import (
    FETCHING_COUNT_MAX,
    Entries,
    Fetching,
    GroupMetrics,
    MetricsSnapshot,
    ParkedNote,
    Progress,
    RetryParked,
    SeriesSketch,
    TransferPlan,
)
from primacy_wire.names import DIGEST_RULE, MODEL_NAME_RULE, is_digest, is_model_name
from primacy_wire.sketch import COUNT_MAX, has_place

CHAIN_MAX = (1 << 63) - 1
SUM_MAX = 1e300
"""Of one series of one agent: what many measured together is finite still."""


# ---- from an agent


def progress_to_proto(progress: Progress) -> pb.Progress:
    return pb.Progress(
        incarnation=progress.incarnation,
        store_id=progress.store_id,
        received=progress.received,
        chain=progress.chain,
        settled=progress.settled,
        parked=[
            pb.ParkedNote(sequence=note.sequence, key=note.key, reason=note.reason, attempts=note.attempts)
            for note in progress.parked
        ],
        verified=progress.verified,
        uplink=progress.uplink,
        models=dict(progress.models),
        fetching=[
            pb.Fetching(sequence=one.sequence, received=one.received, size=one.size) for one in progress.fetching
        ],
    )


def progress_from_proto(proto: pb.Progress) -> Progress:
    """Raises InvalidRequest."""
    checks = Checks("progress")
    checks.text("incarnation", proto.incarnation, required=True)
    checks.text("storeId", proto.store_id)
    for name, value in (("received", proto.received), ("settled", proto.settled), ("uplink", proto.uplink)):
        checks.count(name, value)
    _check_chain(checks, "chain", proto.chain)
    for index, note in enumerate(proto.parked):
        checks.count(f"parked[{index}].sequence", note.sequence, least=1)
        checks.text(f"parked[{index}].key", note.key)
        checks.count(f"parked[{index}].attempts", note.attempts)
    for index, sequence in enumerate(proto.verified):
        checks.count(f"verified[{index}]", sequence, least=1)
    for model, sequence in proto.models.items():
        if not is_model_name(model):
            checks.refuse(f"models.{model[:TEXT_MAX]}", f"the key {MODEL_NAME_RULE}")
        checks.count(f"models.{model[:TEXT_MAX]}", sequence, least=1)
    for index, one in enumerate(proto.fetching):
        checks.count(f"fetching[{index}].sequence", one.sequence, least=1)
        checks.count(f"fetching[{index}].received", one.received)
        checks.count(f"fetching[{index}].size", one.size)
    checks.finish()
    return Progress(
        proto.incarnation,
        proto.store_id,
        proto.received,
        proto.chain,
        proto.settled,
        # A longer reason is cut, not refused: the agent must be heard all the same.
        tuple(ParkedNote(note.sequence, note.key, note.reason[:TEXT_MAX], note.attempts) for note in proto.parked),
        tuple(proto.verified),
        proto.uplink,
        tuple(sorted(proto.models.items())),
        tuple(Fetching(one.sequence, one.received, one.size) for one in proto.fetching[:FETCHING_COUNT_MAX]),
    )


# ---- to an agent


def entries_to_proto(entries: Entries) -> pb.Entries:
    return pb.Entries(
        store_id=entries.store_id,
        after=entries.after,
        after_chain=entries.after_chain,
        upto=entries.upto,
        upto_chain=entries.upto_chain,
        entries=[entry_to_proto(entry) for entry in entries.entries],
        head=entries.head,
        snapshot=entries.snapshot,
        snapshot_upto=entries.snapshot_upto,
        diverged=entries.diverged,
    )


def entries_from_proto(proto: pb.Entries) -> Entries:
    """Raises InvalidRequest."""
    checks = Checks("entries")
    checks.text("storeId", proto.store_id, required=True)
    checks.count("after", proto.after)
    if proto.upto < proto.after:
        checks.refuse("upto", f"must be {proto.after}, with which it begins, or more")
    checks.count("head", proto.head)
    checks.count("snapshotUpto", proto.snapshot_upto)
    _check_chain(checks, "afterChain", proto.after_chain)
    _check_chain(checks, "uptoChain", proto.upto_chain)
    entries = tuple(entry_from_proto(entry, checks, f"entries[{index}]") for index, entry in enumerate(proto.entries))
    last = proto.after
    for index, entry in enumerate(entries):
        if not last < entry.sequence <= proto.upto:
            checks.refuse(f"entries[{index}].sequence", f"must be {last + 1} to {proto.upto}: they come in order")
        last = max(last, entry.sequence)
    checks.finish()
    return Entries(
        proto.store_id,
        proto.after,
        proto.after_chain,
        proto.upto,
        proto.upto_chain,
        entries,
        proto.head,
        proto.snapshot,
        proto.snapshot_upto,
        proto.diverged,
    )


def transfer_plan_to_proto(plan: TransferPlan) -> pb.TransferPlan:
    return pb.TransferPlan(
        sequence=plan.sequence,
        digest=plan.digest,
        holders=plan.holders,
        shares=[pb.TransferShare(agent=agent, weight=weight) for agent, weight in plan.shares],
        version=plan.version,
    )


def transfer_plan_from_proto(proto: pb.TransferPlan) -> TransferPlan:
    """Raises InvalidRequest."""
    checks = Checks("transferPlan")
    checks.count("sequence", proto.sequence, least=1)
    if not is_digest(proto.digest):
        checks.refuse("digest", DIGEST_RULE)
    for index, agent in enumerate(proto.holders):
        checks.agent(f"holders[{index}]", agent)
    for index, share in enumerate(proto.shares):
        checks.agent(f"shares[{index}].agent", share.agent)
        checks.count(f"shares[{index}].weight", share.weight)
    checks.count("version", proto.version)
    checks.finish()
    shares = tuple((share.agent, share.weight) for share in proto.shares)
    return TransferPlan(proto.sequence, proto.digest, tuple(proto.holders), shares, proto.version)


def retry_parked_from_proto(proto: pb.RetryParked) -> RetryParked:
    """Raises InvalidRequest."""
    checks = Checks("retryParked")
    for index, sequence in enumerate(proto.sequences):
        checks.count(f"sequences[{index}]", sequence, least=1)
    checks.finish()
    return RetryParked(tuple(proto.sequences))


# ---- metrics


def metrics_to_proto(snapshot: MetricsSnapshot) -> pb.MetricsSnapshot:
    return pb.MetricsSnapshot(
        region=snapshot.region,
        agent=snapshot.agent,
        version=snapshot.version,
        window_ns=snapshot.window_ns,
        incarnation=snapshot.incarnation,
        wall_ns=snapshot.wall_ns,
        series=[
            pb.SeriesSketch(
                name=series.name,
                count=series.count,
                sum=series.sum,
                min=series.min,
                max=series.max,
                last=series.last,
                zeros=series.zeros,
                first_bucket=series.first_bucket,
                buckets=series.buckets,
            )
            for series in snapshot.series
        ],
        dropped=snapshot.dropped,
    )


def metrics_from_proto(proto: pb.MetricsSnapshot) -> MetricsSnapshot:
    """An agent's snapshot, from itself. Raises InvalidRequest."""
    checks = Checks("metrics")
    snapshot = _read_snapshot(proto, checks, "")
    checks.finish()
    return snapshot


def shared_from_proto(snapshots: Iterable[pb.MetricsSnapshot]) -> tuple[MetricsSnapshot, ...]:
    """The `snapshots` of agents, from any other one. Raises InvalidRequest."""
    found: list[MetricsSnapshot] = []
    bad: list[BadField] = []
    for index, proto in enumerate(snapshots):
        checks = Checks(f"snapshots[{index}]")
        found.append(_read_snapshot(proto, checks, ""))
        bad += checks.bad
    if bad:
        raise InvalidRequest(*bad)
    return tuple(found)


def group_metrics_to_proto(metrics: GroupMetrics) -> pb.GroupMetrics:
    return pb.GroupMetrics(snapshots=[metrics_to_proto(snapshot) for snapshot in metrics.snapshots])


def group_metrics_from_proto(proto: pb.GroupMetrics) -> GroupMetrics:
    """Raises InvalidRequest."""
    checks = Checks("groupMetrics")
    found = tuple(
        _read_snapshot(snapshot, checks, f"snapshots[{index}].", of_region=not snapshot.agent)
        for index, snapshot in enumerate(proto.snapshots)
    )
    checks.finish()
    return GroupMetrics(found)


def _read_snapshot(proto: pb.MetricsSnapshot, checks: Checks, path: str, of_region: bool = False) -> MetricsSnapshot:
    """`of_region`: of all agents of a region together; it counts what they counted."""
    checks.name(f"{path}region", proto.region)
    if not of_region:
        checks.agent(f"{path}agent", proto.agent)
        if proto.agent.partition("/")[0] != proto.region:
            checks.refuse(f"{path}agent", f"must be an agent of the region {proto.region[:TEXT_MAX]!r}")
    checks.text(f"{path}incarnation", proto.incarnation, required=True)
    checks.count(f"{path}version", proto.version, least=1)
    checks.count(f"{path}windowNs", proto.window_ns, least=1)
    checks.count(f"{path}wallNs", proto.wall_ns)
    checks.count(f"{path}dropped", proto.dropped)
    series = tuple(
        _read_series(one, checks, f"{path}series[{index}]", of_region) for index, one in enumerate(proto.series)
    )
    return MetricsSnapshot(
        proto.region,
        proto.agent,
        proto.incarnation,
        proto.version,
        proto.window_ns,
        proto.wall_ns,
        series,
        proto.dropped,
    )


def _read_series(proto: pb.SeriesSketch, checks: Checks, path: str, of_region: bool) -> SeriesSketch:
    buckets = tuple(proto.buckets)
    checks.text(f"{path}.name", proto.name, required=True)
    for name, value in (("sum", proto.sum), ("min", proto.min), ("max", proto.max), ("last", proto.last)):
        if not math.isfinite(value):
            checks.refuse(f"{path}.{name}", "must be a finite number")
    checks.count(f"{path}.zeros", proto.zeros)
    if not of_region and abs(proto.sum) > SUM_MAX:
        checks.refuse(f"{path}.sum", f"must be at most {SUM_MAX:g}")
    if not of_region and proto.count > COUNT_MAX:
        checks.refuse(f"{path}.count", f"must be at most {COUNT_MAX}")
    if not has_place(proto.first_bucket, len(buckets)):
        checks.refuse(f"{path}.buckets", "no value lies in the first or the last of them")
    elif min(buckets, default=0) < 0:
        checks.refuse(f"{path}.buckets", "must be 0 or more each")
    elif proto.zeros + sum(buckets) != proto.count:
        checks.refuse(f"{path}.count", "must be the sum of `zeros` and `buckets`")
    return SeriesSketch(
        proto.name,
        proto.count,
        proto.sum,
        proto.min,
        proto.max,
        proto.last,
        proto.zeros,
        proto.first_bucket,
        buckets,
    )


def _check_chain(checks: Checks, path: str, chain: int) -> None:
    if chain > CHAIN_MAX:
        checks.refuse(path, "must be a fingerprint of 63 bits")
