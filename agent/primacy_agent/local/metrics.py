"""The agent's own figures in the Prometheus text format."""

from __future__ import annotations

from collections.abc import Callable

from primacy.v1.routing_pb2 import RoutingStrategy
from primacy_wire.clock import read_now
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Phase, ServiceState

from primacy_agent.local import process_metrics
from primacy_agent.node import Node

_HEADS = {
    "primacy_agent_info": ("gauge", "Version and identity; always 1."),
    "primacy_agent_lease_valid": ("gauge", "1 while this agent's lease is valid."),
    "primacy_agent_lease_remaining_seconds": ("gauge", "How long the lease is still valid if nothing renews it."),
    "primacy_agent_phase": ("gauge", "1 for what the agent is for its service now, 0 for every other phase."),
    "primacy_agent_heard_epoch": ("gauge", "Highest epoch ever heard of."),
    "primacy_agent_connected": ("gauge", "1 while a session with a coordinator is open."),
    "primacy_agent_sessions_total": ("counter", "Sessions opened by this life."),
    "primacy_agent_reports_total": ("counter", "Reports sent by this life."),
    "primacy_agent_last_answer_age_seconds": ("gauge", "Time since the last answer of the coordinator."),
    "primacy_agent_weights_age_seconds": ("gauge", "Time since the last weights came."),
    "primacy_agent_service_up": ("gauge", "1 while at least one instance is healthy."),
    "primacy_agent_instances": ("gauge", "Instances by state."),
    "primacy_agent_read_weight": ("gauge", "Share of this region's reads that each region gets."),
    "primacy_agent_shunned": ("gauge", "1 while this agent moves reads away from the region by itself."),
    "primacy_agent_peer_reachable": ("gauge", "1 while the other region's endpoint, or its agent, is reached."),
    "primacy_agent_peer_rtt_seconds": ("gauge", "Smoothed round trip."),
    "primacy_agent_routed_total": ("counter", "Requests routed."),
    "primacy_agent_log_head": ("gauge", "Number of the newest entry of the log that was heard of."),
    "primacy_agent_log_settled": ("gauge", "Every entry up to here was applied or parked."),
    "primacy_agent_log_parked": ("gauge", "Entries that were put aside."),
    "primacy_agent_log_retries_total": ("counter", "Tries to fetch or apply an entry that failed, by this life."),
    "primacy_agent_writes_queued": ("gauge", "Writes that wait on the disk to be submitted."),
    "primacy_agent_journal_failing": ("gauge", "1 while the disk takes nothing of the journal."),
    "primacy_agent_fetches": ("gauge", "Contents of models that are being fetched."),
    "primacy_agent_receiving_bytes_per_second": ("gauge", "What is being fetched now."),
    "primacy_agent_received_bytes_total": ("counter", "Bytes of models that were fetched by this life."),
    "primacy_agent_sent_bytes_total": ("counter", "Bytes of models that were sent to others by this life."),
    "primacy_agent_uplink_bytes_per_second": ("gauge", "What this agent could send to others lately."),
    "primacy_agent_dataplane_version": ("gauge", "Version of the weights that an output handed on last."),
    "primacy_agent_dataplane_trouble": ("gauge", "1 while something is wrong with an output of weights."),
    "primacy_agent_xds_clients": ("gauge", "Streams of the xDS server that are open."),
    "primacy_agent_xds_pushes_total": ("counter", "Responses that xDS clients were sent."),
    "primacy_agent_xds_answers_total": ("counter", "What xDS clients answered: ack, nack, stale, or bogus."),
    "primacy_agent_xds_load_reports_total": ("counter", "Reports of xDS clients on what they sent where."),
    "primacy_agent_xds_resources": ("gauge", "Resources that xDS clients can be sent."),
    "primacy_agent_haproxy_checks_total": ("counter", "Agent checks of HAProxy, by what became of them."),
    "primacy_agent_weights_file_writes_total": ("counter", "Replacements of the weights file."),
    "primacy_agent_weights_hook_runs_total": ("counter", "Runs of the program onWeights."),
    "primacy_agent_weights_hook_seconds": ("gauge", "How long its last run took."),
    **process_metrics.HEADS,
}


def render_metrics(node: Node) -> str:
    """Every series; those that are not known yet are left out."""
    now = read_now()
    view = node.holder.active(now)
    lines: dict[str, list[str]] = {name: [] for name in _HEADS}

    def add(name: str, value: float, **labels: str) -> None:
        text = ",".join(f'{key}="{_escaped(label)}"' for key, label in labels.items())
        lines[name].append(f"{name}{{{text}}} {value:.10g}" if text else f"{name} {value:.10g}")

    add(
        "primacy_agent_info",
        1,
        version=node.version,
        group=node.config.group,
        region=node.config.region,
        agent=node.config.name,
    )
    add("primacy_agent_lease_valid", view.remaining_ns > 0)
    add("primacy_agent_lease_remaining_seconds", view.remaining_ns / SECOND_NS)
    for phase in Phase:
        add("primacy_agent_phase", phase is view.phase, phase=phase.name.lower())
    add("primacy_agent_heard_epoch", node.holder.memory.heard_epoch)
    add("primacy_agent_connected", node.session.connected)
    add("primacy_agent_sessions_total", node.session.sessions_count)
    add("primacy_agent_reports_total", node.session.reports_count)
    if node.holder.answered_mono_ns:
        add("primacy_agent_last_answer_age_seconds", (now.mono_ns - node.holder.answered_mono_ns) / SECOND_NS)
    traffic = node.rows.traffic
    if traffic is not None:
        add("primacy_agent_weights_age_seconds", node.rows.age_ns(now) / SECOND_NS)
        for region, share in traffic.read:
            add("primacy_agent_read_weight", share, target_region=region)
            add("primacy_agent_shunned", region in traffic.shunned, target_region=region)
    health = node.probes.health
    add("primacy_agent_service_up", health.state is ServiceState.UP)
    add("primacy_agent_instances", health.healthy, state="healthy")
    add("primacy_agent_instances", health.total - health.healthy, state="other")
    for sight in node.peers.seen():
        what = {"target_region": sight.region, "target_agent": sight.agent}
        add("primacy_agent_peer_reachable", sight.reachable, **what)
        if sight.rtt_ns >= 0:
            add("primacy_agent_peer_rtt_seconds", sight.rtt_ns / SECOND_NS, **what)
    _add_replication(node, add)
    for figure in node.outputs.figures():
        add(f"primacy_agent_{figure.name}", figure.value, **figure.labels)
    for count in node.routes.counts(now.mono_ns):
        add(
            "primacy_agent_routed_total",
            count.count,
            client_region=count.client_region,
            target_region=count.target_region,
            traffic_class="write" if count.traffic_class == 2 else "read",
            strategy=strategy_name(count.strategy),
            outcome=count.outcome,
        )
    for name, value in process_metrics.figures():
        add(name, value)
    text = []
    for name, (kind, explanation) in _HEADS.items():
        if lines[name]:
            text += [f"# HELP {name} {explanation}", f"# TYPE {name} {kind}", *lines[name]]
    return "\n".join(text) + "\n"


def _add_replication(node: Node, add: Callable[[str, float], None]) -> None:
    replication = node.replication
    replicator, progress = replication.replicator, replication.replicator.progress
    add("primacy_agent_log_head", replicator.replica.head)
    add("primacy_agent_log_settled", progress.settled)
    add("primacy_agent_log_parked", len(progress.parked))
    add("primacy_agent_log_retries_total", replicator.retries_count)
    add("primacy_agent_writes_queued", replication.outbox.waiting)
    add("primacy_agent_journal_failing", bool(replication.journal.trouble))
    add("primacy_agent_fetches", len(replicator.fetching))
    add("primacy_agent_receiving_bytes_per_second", replication.fetcher.receiving)
    add("primacy_agent_received_bytes_total", replication.fetcher.bytes_received)
    add("primacy_agent_sent_bytes_total", replication.pieces.bytes_sent)
    add("primacy_agent_uplink_bytes_per_second", progress.uplink)


def strategy_name(number: int) -> str:
    """`geographic`; empty while no weights are known, the number for one that this version does not know."""
    if number not in RoutingStrategy.values():
        return str(number)
    name = RoutingStrategy.Name(RoutingStrategy.ValueType(number)).removeprefix("ROUTING_STRATEGY_").lower()
    return "" if name == "unspecified" else name


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
