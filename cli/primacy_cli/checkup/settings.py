"""Do the policy and the overrides mean what their author hopes for? And can the coordinator keep what it decides?"""

from __future__ import annotations

from collections.abc import Iterator

from primacy.v1 import override_pb2, policy_pb2, routing_pb2
from primacy.v1.policy_service_pb2 import GetPolicyResponse
from primacy.v1.status_service_pb2 import GetStatusResponse

from primacy_cli.checkup.checks import Check, fail, warn, well
from primacy_cli.failover_time import bounds
from primacy_cli.overrides_table import WARNING_NS
from primacy_cli.prices import lag_text
from primacy_cli.words import length, plural, word


def store(status: GetStatusResponse, journal_fault: str) -> Iterator[Check]:
    """`journal_fault`: why no events could be read; empty when they could."""
    if status.HasField("doubt"):
        yield fail("store", f"nothing is granted or renewed: {status.doubt.reason}", "primacy recover")
    if journal_fault:
        yield fail("store", f"the journal cannot be read: {journal_fault}", "look at the coordinator's disk and log")
    if not status.HasField("doubt") and not journal_fault:
        yield well("store", f"the coordinator trusts its store {status.coordinator.store_id}")
    if status.HasField("self_doubt"):
        found = f"the coordinator suspects its own link: {status.self_doubt.reason}"
        yield warn("store", found, "look at the coordinator's network and load")


def lease(status: GetStatusResponse) -> Iterator[Check]:
    if status.active_region:
        yield well("lease", f"{status.active_region} is active at epoch {status.lease.accepted_epoch}")
    elif status.lease.restart_wait.ToNanoseconds() > 0:
        found = f"no region is active: nothing is offered for {length(status.lease.restart_wait)} after a start"
        yield warn("lease", found, "primacy wait --for active")
    else:
        yield fail("lease", "no region is active", "primacy explain")
    if status.panic:
        found = "so few regions look healthy that reads ignore health"
        yield fail("lease", found, "primacy regions")


def overrides(status: GetStatusResponse) -> Iterator[Check]:
    for each in status.overrides:
        kind = word(override_pb2.OverrideKind, each.kind).lower()
        what = f"{kind} of {each.region}" if each.region else kind
        if each.kind == override_pb2.OVERRIDE_KIND_PAUSE and not status.active_region:
            yield fail("overrides", f"paused without an active region: {each.reason}", "primacy resume")
        elif each.remaining.ToNanoseconds() < WARNING_NS:
            yield warn(
                "overrides",
                f"the {what} by {each.owner} ends in {length(each.remaining)}: {each.reason}",
                "set it again for longer if it must stay",
            )
    if status.overrides:
        yield well("overrides", f"{plural(len(status.overrides), 'override')} in force (`primacy overrides`)")


def policy(status: GetStatusResponse, found: GetPolicyResponse) -> Iterator[Check]:
    """Settings that are allowed, and miss what they are for in this group."""
    faults = list(_policy_faults(status))
    yield from faults
    if not faults:
        total = f"; a failover takes at most {length(found.worst_case.total)}" if found.worst_case.terms else ""
        yield well("policy", f"it fits the group{total}")


def _policy_faults(status: GetStatusResponse) -> Iterator[Check]:
    given = status.policy
    regions = {region.name: region for region in status.regions}
    for path, names in (("regionWeights", given.region_weights), ("clientTraffic", given.client_traffic)):
        unknown = sorted(set(names) - set(regions))
        if unknown:
            yield warn(
                "policy", f"{path} names {', '.join(unknown)}, and there is no such region", "primacy policy get"
            )
    if len(regions) == 1:
        yield warn("policy", "there is one region: nothing can take over from it", "start an agent in a second region")
    if given.min_undrained_regions >= len(regions) > 0:
        found = f"minUndrainedRegions is {given.min_undrained_regions}: no region can ever be drained"
        yield warn("policy", found, "primacy policy set")
    unplaced = sorted(name for name, region in regions.items() if not region.HasField("location"))
    if given.read_strategy == routing_pb2.ROUTING_STRATEGY_GEOGRAPHIC and unplaced:
        found = f"reads go to the nearest region, and nobody knows where {', '.join(unplaced)} is"
        yield warn("policy", found, f"primacy regions update {unplaced[0]} --location LAT,LON")
    unmeasured = sorted(name for name, region in regions.items() if not region.capacity)
    if given.strategy == policy_pb2.ELECTION_STRATEGY_CAPACITY and unmeasured:
        found = f"the region with most headroom is elected, and the capacity of {', '.join(unmeasured)} is not known"
        yield warn("policy", found, f"primacy regions update {unmeasured[0]} --capacity N")
    if bounds(given.max_loss) and not any(lag_text(region.lag) for region in regions.values()):
        found = "maxLoss is set, and no agent measures how far its data is behind: every failover passes"
        yield warn("policy", found, "let a probe of the agents report lag_seconds")
