"""What proxies are sent, from what the agent knows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.addresses import Places
from primacy_agent.dataplane.config import UpstreamProtocol
from primacy_agent.dataplane.xds.building import (
    Assignment,
    assign,
    build_assignments,
    build_frame,
    build_messages,
    freeze,
    problems_of,
)
from primacy_agent.dataplane.xds.consistency import assignment_problems, frame_problems
from primacy_agent.dataplane.xds.descriptors import message
from primacy_agent.dataplane.xds.endpoints import WEIGHT_MAX, build_endpoints, weight
from primacy_agent.dataplane.xds.kinds import CLUSTER, ENDPOINTS, LISTENER, ROUTES

from tests.unit.agent.xds import made
from tests.unit.agent.xds.made import TRAFFIC, places, row


def built(traffic: Traffic = TRAFFIC, where: Places | None = None) -> list[Any]:
    """(endpoints for reads, endpoints for writes)."""
    assignments, _ = build_assignments(traffic, where if where is not None else places(traffic), before=None)
    return [parsed(one) for one in assignments]


def parsed(assignment: Assignment) -> Any:
    return message("envoy.config.endpoint.v3.ClusterLoadAssignment").FromString(assignment.resource.body)


def spread(assignment: Any) -> list[tuple[int, str, int]]:
    return [(one.priority, one.locality.region, one.load_balancing_weight.value) for one in assignment.endpoints]


def test_reads_go_by_their_row_with_fallbacks_behind_and_writes_to_one_region() -> None:
    read, write = built()
    assert (read.cluster_name, write.cluster_name) == ("shop", "shop.write")
    assert spread(read) == [(0, "eu", 3_000), (0, "us", 7_000), (1, "ap", WEIGHT_MAX)]
    assert spread(write) == [(0, "us", WEIGHT_MAX)]
    assert read.policy.overprovisioning_factor.value == 140


def test_a_region_without_a_share_is_left_out_and_a_tiny_share_is_not() -> None:
    (read, _) = built(replace(TRAFFIC, read=row(us=0.999_999, eu=0.000_001), fallback=()))
    assert spread(read) == [(0, "eu", 1), (0, "us", WEIGHT_MAX)]


def test_rows_that_are_all_zero_empty_the_assignments_whatever_stands_behind() -> None:
    read, write = built(replace(TRAFFIC, read=row(), write=row()))
    assert (spread(read), spread(write)) == ([], [])


def test_a_region_without_an_address_gives_its_share_to_the_others() -> None:
    (read, _) = built(where=Places({"us": (("10.0.0.3", 80),)}))
    assert spread(read) == [(0, "us", 7_000)]


def test_a_name_with_several_addresses_makes_several_endpoints_of_one_region() -> None:
    (read, _) = built(where=Places({"us": (("10.0.0.3", 80), ("10.0.0.4", 80))}))
    (region,) = read.endpoints
    assert [one.endpoint.address.socket_address.address for one in region.lb_endpoints] == ["10.0.0.3", "10.0.0.4"]


def test_a_row_without_any_address_keeps_what_it_had_and_is_withheld_if_it_had_nothing() -> None:
    before = made.snapshot()
    nowhere = Places({"ap": (("10.0.0.1", 80),)})
    frame = build_frame("shop", UpstreamProtocol.HTTP1, 0.5)
    assignments, withheld = build_assignments(TRAFFIC, nowhere, before)
    assert not withheld
    assert freeze(frame, assignments, withheld, 7).of(ENDPOINTS) == before.of(ENDPOINTS)
    assignments, withheld = build_assignments(TRAFFIC, nowhere, None)
    assert withheld == {"shop", "shop.write"}
    assert [*problems_of(frame, assignments, withheld)] == []


def test_clusters_obey_weights_and_are_told_panic_and_protocol() -> None:
    read, write = build_messages("shop", UpstreamProtocol.HTTP1, 0.25)[CLUSTER]
    for cluster in (read, write):
        assert cluster.common_lb_config.HasField("locality_weighted_lb_config")
        assert cluster.common_lb_config.healthy_panic_threshold.value == 25
        assert not cluster.typed_extension_protocol_options
    assert read.HasField("outlier_detection") and not write.HasField("outlier_detection")
    messages = build_messages("shop", UpstreamProtocol.HTTP2, 0.5)
    assert all(len(cluster.typed_extension_protocol_options) == 1 for cluster in messages[CLUSTER])


def test_versions_are_of_contents() -> None:
    first, again, other = made.snapshot(), made.snapshot(), made.snapshot(row(us=1.0))
    assert first == again
    assert first.version != other.version
    assert first.of(ENDPOINTS)["shop"].version != other.of(ENDPOINTS)["shop"].version
    for kind, name in ((ENDPOINTS, "shop.write"), (CLUSTER, "shop"), (LISTENER, "shop"), (ROUTES, "shop")):
        assert first.of(kind)[name] == other.of(kind)[name]


def test_what_does_not_hang_together_is_found() -> None:
    messages = {kind: [*found] for kind, found in build_messages("shop", UpstreamProtocol.HTTP1, 0.5).items()}
    assert [*frame_problems(messages)] == []
    for kind, said in (
        (CLUSTER, "the routes 'shop' name the cluster 'shop', which there is not"),
        (ROUTES, "the listener 'shop' names the routes 'shop', which there are not"),
    ):
        assert said in [*frame_problems({**messages, kind: messages[kind][1:]})]
    for kind, noun in ((CLUSTER, "cluster"), (LISTENER, "listener"), (ROUTES, "route configuration")):
        assert f"the {noun} 'shop' is there twice" in [*frame_problems({**messages, kind: messages[kind][:1] * 2})]


def test_endpoints_are_there_for_every_cluster_and_for_nothing_else() -> None:
    frame = build_frame("shop", UpstreamProtocol.HTTP1, 0.5)
    (read, write), _ = build_assignments(TRAFFIC, places(), None)
    none: frozenset[str] = frozenset()
    assert [*problems_of(frame, [read, write], none)] == []
    assert [*problems_of(frame, [read], none)] == ["the cluster 'shop.write' has no endpoint assignment"]
    assert [*problems_of(frame, [read, write, write], none)] == ["a cluster has two endpoint assignments"]
    other = build_frame("other", UpstreamProtocol.HTTP1, 0.5)
    assert "there are endpoints for 'shop', which is no cluster" in [*problems_of(other, [read], none)]
    bad = assign(
        message("envoy.config.endpoint.v3.ClusterLoadAssignment")(cluster_name="shop", endpoints=[region()] * 2)
    )
    (said,) = problems_of(frame, [bad, write], none)
    assert said == "'shop': the region 'us' is there twice in priority 0"
    assert [*problems_of(replace(frame, problems=("wrong",)), [read, write], none)] == ["wrong"]


def region(name: str = "us", weight: int = 1, priority: int = 0, ip: str = "10.0.0.1", port: int = 80) -> Any:
    return {
        "locality": {"region": name},
        "load_balancing_weight": {"value": weight},
        "priority": priority,
        "lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": ip, "port_value": port}}}}],
    }


@pytest.mark.parametrize(
    ("regions", "said"),
    [
        ([region(weight=0)], "has no weight"),
        ([region(), region()], "is there twice in priority 0"),
        ([region(), region("eu", priority=2)], "without gaps"),
        ([region(priority=1)], "without gaps"),
        ([region(weight=2**31), region("eu", weight=2**31)], "sum up to more than"),
        ([region(port=0)], "has the port 0"),
        ([region(port=70_000)], "has the port 70000"),
        ([region(ip="web.internal")], "is not an IP address"),
        ([{"locality": {"region": "us"}, "load_balancing_weight": {"value": 1}}], "has no address"),
    ],
)
def test_what_a_proxy_would_reject_is_found(regions: list[Any], said: str) -> None:
    assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")(cluster_name="shop", endpoints=regions)
    assert any(said in problem for problem in assignment_problems(assignment))


NAMES = [f"r{number}" for number in range(6)]
SHARES = st.one_of(st.just(0.0), st.floats(0, 1, allow_subnormal=True))


@given(
    st.lists(SHARES, min_size=6, max_size=6),
    st.lists(st.sampled_from(NAMES), max_size=8),
    st.sets(st.sampled_from(NAMES)),
    st.floats(0, 4),
)
def test_every_row_makes_an_assignment_that_proxies_take(
    shares: list[float], fallback: list[str], located: set[str], overprovisioning: float
) -> None:
    found = build_endpoints(
        "shop",
        tuple(zip(NAMES, shares, strict=True)),
        tuple(fallback),
        dict.fromkeys(located, (("10.0.0.1", 80),)),
        overprovisioning,
    )
    wanted = {name for name, share in zip(NAMES, shares, strict=True) if share > 0}
    if wanted and not wanted & located:
        assert found is None
        return
    assert found is not None and list(assignment_problems(found)) == []
    assert {name for priority, name, _ in spread(found) if priority == 0} == wanted & located
    assert {name for priority, name, _ in spread(found) if priority > 0} == (
        set(fallback) & located - wanted if wanted else set()
    )


@given(st.floats(0, 1, exclude_min=True))
def test_a_weight_is_as_near_to_its_share_as_a_proxy_can_tell(share: float) -> None:
    assert 1 <= weight(share) <= WEIGHT_MAX
    assert abs(weight(share) / WEIGHT_MAX - share) <= 1 / WEIGHT_MAX
