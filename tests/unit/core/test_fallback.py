"""Where reads go when those with a share cannot serve, before anybody has said so."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from primacy_coordinator.core import events
from primacy_coordinator.core.fallback import fallback_of
from primacy_coordinator.core.model import RegionSettings, RegionStatus, RoutingStrategy
from primacy_coordinator.core.routing import WeightsInput, usable_of, weigh
from primacy_wire.instant import MILLISECOND_NS
from primacy_wire.messages import WeightsUpdate

from tests.unit.core.lab import DOWN
from tests.unit.core.test_draining import drain, settled
from tests.unit.core.test_routing import INPUTS, region, three

FOUR = (*three(), region("us-west"))


def plain(strategy: RoutingStrategy, regions: tuple[object, ...] = FOUR, **values: object) -> WeightsInput:
    given_ = WeightsInput(strategy, regions, "us-east", ("ap-south", "eu-west"), (), 0.5)  # type: ignore[arg-type]
    return replace(given_, **values)  # type: ignore[arg-type]


def of(given_: WeightsInput, client: str) -> tuple[str, ...]:
    return fallback_of(given_, client, dict(weigh(given_).read)[client])


def test_the_nearest_without_a_share_comes_first() -> None:
    given_ = plain(RoutingStrategy.GEOGRAPHIC)
    assert of(given_, "us-east") == ("us-west", "eu-west", "ap-south")
    measured = (("us-east", "ap-south", MILLISECOND_NS), ("us-east", "us-west", -1))
    assert of(replace(given_, rtts=measured), "us-east") == ("ap-south", "us-west", "eu-west")


def test_a_region_at_an_unknown_distance_comes_last_and_the_own_one_first() -> None:
    regions = (*three(), region("nowhere"), region("eu", location=(50.0, 0.0), weight=1.0))
    pins = (("eu", (("ap-south", 1.0),)),)
    assert of(plain(RoutingStrategy.GEOGRAPHIC, regions, pins=pins), "eu") == ("eu", "eu-west", "us-east", "nowhere")


def test_who_is_no_fallback() -> None:
    regions = (
        region("ap-south", RegionStatus.DOWN),
        region("eu-west", drain=0.5),
        region("us-east"),
        region("us-west", weight=0.0),
    )
    assert of(plain(RoutingStrategy.GEOGRAPHIC, regions), "us-east") == ("us-west",)
    assert of(plain(RoutingStrategy.WEIGHTED, regions), "us-east") == (), "the policy gives us-west no weight"


def test_where_reads_follow_one_region_the_next_to_follow_comes_first() -> None:
    """As the coordinator will say: reads do not move twice."""
    given_ = plain(RoutingStrategy.ACTIVE_ONLY)
    assert of(given_, "us-east") == ("ap-south", "eu-west", "us-west")
    dead = plain(RoutingStrategy.ACTIVE_ONLY, tuple(
        replace(r, status=RegionStatus.DOWN) if r.name == "us-east" else r for r in FOUR
    ))  # fmt: skip
    assert dict(dict(weigh(dead).read)["eu-west"])["ap-south"] == 1


@given(INPUTS)
def test_fallbacks_are_usable_regions_without_a_share(given_: WeightsInput) -> None:
    usable = {r.name for r in usable_of(given_)}
    for client, row in weigh(given_).read:
        found = fallback_of(given_, client, row)
        assert len(set(found)) == len(found) and set(found) <= usable
        assert not set(found) & {name for name, share in row if share}


def test_agents_hear_of_drains_limits_places_and_of_a_fallback_that_is_dead() -> None:
    """What a data plane goes by is pushed when it changes, also where no share does."""
    lab = settled(read_strategy=RoutingStrategy.ACTIVE_ONLY)
    told: list[WeightsUpdate] = []

    def last() -> WeightsUpdate:
        known = lab.of("us")[0].weights
        assert known is not None
        told.append(known)
        return known

    first = last()
    assert first.fallback == ("eu", "us") and first.drained == () and first.local_shift_max == 1.0
    lab.ask(events.UpdateRegion(lab.request(), "us", RegionSettings(priority=500), ("priority",)))
    lab.run(1)
    assert last().fallback == ("us", "eu") and last().read == first.read, "reads would follow another one next"
    lab.of("eu")[0].health = DOWN
    lab.run(2)
    assert last().fallback == ("us",) and last().read == first.read
    lab.ask(events.UpdateRegion(lab.request(), "us", RegionSettings(50.0, 8.0), ("location",)))
    lab.run(1)
    assert last().locations == (("us", (50.0, 8.0)),)
    policy = replace(lab.policy, local_shift_max=0.25, overprovisioning=2.0, panic_threshold=0.3)
    lab.ask(events.SetPolicy(lab.request(), policy))
    lab.run(1)
    known = last()
    assert (known.panic_threshold, known.overprovisioning, known.local_shift_max) == (0.3, 2.0, 0.25)
    drain(lab, "us")
    lab.run(1)
    assert last().drained == ("us",) and last().fallback == ()
    assert [update.version for update in told] == sorted(update.version for update in told)
