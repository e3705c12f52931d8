"""Plans of transfers: who lacks a model is told whom to ask, all that fetch together are told the same."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from primacy_coordinator.core import effects
from primacy_coordinator.core.log import transfers
from primacy_coordinator.core.log_model import Durability
from primacy_wire.log_messages import Entries, EntryKind, ParkedNote, Progress, TransferPlan

from tests.unit.core.lab import Node
from tests.unit.core.log.replicas import LogLab, Replica


@dataclass
class Fetching(Replica):
    """Settles no model before its content was given to it."""

    have: set[int] = field(default_factory=set)
    aside: set[int] = field(default_factory=set)
    uplink: int = 0

    def progress(self, incarnation: str) -> Progress:
        found = super().progress(incarnation)
        models = [entry.sequence for entry in self.log.values() if entry.kind is EntryKind.MODEL and not entry.removed]
        lacks = [sequence for sequence in models if sequence not in self.have | self.aside]
        settled = min([found.settled, *(sequence - 1 for sequence in lacks)])
        parked = tuple(ParkedNote(one, "m", "the disk is full", 8) for one in sorted(self.aside) if one <= settled)
        verified = tuple(sorted(sequence for sequence in self.have if sequence > settled))
        return replace(found, settled=settled, verified=verified, parked=parked, uplink=self.uplink)


class TransferLab(LogLab):
    def __init__(self, regions: dict[str, int]) -> None:
        self.plans: dict[str, list[TransferPlan]] = {}
        self.order: dict[str, list[str]] = {}
        """What each agent was sent of plans and models, in order."""
        super().__init__(regions)
        self.run(6)

    def add(self, region: str, agent: str) -> Node:
        self.replicas.setdefault(f"{region}/{agent}", Fetching())
        return super().add(region, agent)

    def _perform(self, found: tuple[effects.Effect, ...]) -> None:
        for effect in found:
            if isinstance(effect, effects.Send) and isinstance(effect.message, Entries | TransferPlan):
                key = next((key for key, node in self.nodes.items() if node.session == effect.session), "")
                if isinstance(effect.message, TransferPlan):
                    self.plans.setdefault(key, []).append(effect.message)
                    self.order.setdefault(key, []).append("plan")
                elif any(entry.kind is EntryKind.MODEL for entry in effect.message.entries):
                    self.order.setdefault(key, []).append("model")
        super()._perform(found)

    def publish(self, writer: str = "ap/a1", name: str = "m", wait_s: float = 0.5) -> int:
        """The sequence of a new version, which its writer has."""
        assert self.group is not None
        current = self.group._state.log.current.get((EntryKind.MODEL, name))
        more: dict[str, Any] = {"parent": current.sequence if current is not None else 0, "agent": writer}
        self.append(
            self.draft(name, b"", writer.partition("/")[0], kind=EntryKind.MODEL, format="", digest="ab" * 32, **more),
            Durability.LOCAL,
        )
        sequence = self.group._state.log.newest_model
        self.give(writer, sequence)
        self.run(wait_s)
        return sequence

    def of(self, key: str) -> Fetching:  # type: ignore[override]
        replica = self.replicas[key]
        assert isinstance(replica, Fetching)
        return replica

    def give(self, key: str, sequence: int) -> None:
        """It has got the content."""
        self.of(key).have.add(sequence)
        self.of(key).aside.discard(sequence)
        self.say(key)

    def plan(self, key: str) -> TransferPlan:
        return self.plans[key][-1]


@pytest.fixture
def lab() -> TransferLab:
    return TransferLab({"ap": 1, "eu": 1, "us": 1})


def test_who_lacks_a_model_is_told_of_its_writer_and_of_those_that_fetch_it_too(lab: TransferLab) -> None:
    sequence = lab.publish()
    assert lab.plan("eu/a1") == replace(lab.plan("us/a1"), version=lab.plan("eu/a1").version), (
        "all that fetch together know the same"
    )
    plan = lab.plan("eu/a1")
    assert (plan.sequence, plan.digest, plan.holders) == (sequence, "ab" * 32, ("ap/a1",))
    assert [agent for agent, _ in plan.shares] == ["eu/a1", "us/a1"]
    assert "ap/a1" not in lab.plans, "its writer lacks nothing"


def test_the_plan_comes_before_the_entry(lab: TransferLab) -> None:
    lab.publish()
    assert lab.order["eu/a1"][:2] == ["plan", "model"] and lab.order["us/a1"][:2] == ["plan", "model"]


def test_nothing_is_told_again_while_nothing_changes(lab: TransferLab) -> None:
    lab.publish()
    lab.run(5)
    assert {key: len(plans) for key, plans in lab.plans.items()} == {"eu/a1": 1, "us/a1": 1}


def test_who_has_all_of_it_stays_in_the_plan_of_the_others(lab: TransferLab) -> None:
    sequence = lab.publish()
    before = lab.plan("us/a1")
    lab.give("eu/a1", sequence)
    lab.run(2)
    assert lab.plan("us/a1") == before, "it says itself what it has"
    lab.give("us/a1", sequence)
    lab.run(2)
    assert lab.group is not None and not lab.group._state.log.transfers and len(lab.plans["us/a1"]) == 1


def test_who_joins_is_told_and_the_others_are_told_of_it(lab: TransferLab) -> None:
    lab.publish()
    first = lab.plan("eu/a1").version
    lab.add("sa", "a1")
    lab.run(2)
    members = ["eu/a1", "sa/a1", "us/a1"]
    assert all([agent for agent, _ in lab.plan(key).shares] == members for key in members)
    assert len({lab.plan(key).shares for key in members}) == 1 and lab.plan("eu/a1").version > first


def test_who_comes_when_all_have_it_asks_the_nearest(lab: TransferLab) -> None:
    sequence = lab.publish()
    for key in ("eu/a1", "us/a1"):
        lab.give(key, sequence)
    lab.run(1)
    lab.add("us", "a2")
    lab.run(2)
    plan = lab.plan("us/a2")
    assert plan.holders[0] == "us/a1" and set(plan.holders) == {"us/a1", "ap/a1", "eu/a1"}
    assert [agent for agent, _ in plan.shares] == ["us/a2"]


def test_regions_are_near_by_what_the_agent_measured(lab: TransferLab) -> None:
    sequence = lab.publish()
    for key in ("eu/a1", "us/a1"):
        lab.give(key, sequence)
    lab.run(1)
    node = lab.add("sa", "a1")
    node.sees = {"us": True, "eu": False}
    lab.run(2)
    assert lab.plan("sa/a1").holders == ("us/a1", "ap/a1", "eu/a1")


def test_who_is_lost_is_nobodys_source_any_more(lab: TransferLab) -> None:
    sequence = lab.publish()
    lab.nodes["us/a1"].cut = True
    lab.run(3)
    assert [agent for agent, _ in lab.plan("eu/a1").shares] == ["eu/a1"]
    lab.give("eu/a1", sequence)
    lab.nodes["ap/a1"].cut = True
    lab.nodes["us/a1"].cut = False
    lab.run(4)
    assert lab.plan("us/a1").holders == ("eu/a1",)


def test_shares_are_weighed_by_uplinks_and_stay_while_those_are_measured_anew(lab: TransferLab) -> None:
    lab.of("eu/a1").uplink, lab.of("us/a1").uplink = 3_000, 1_000
    lab.say("eu/a1")
    lab.say("us/a1")
    lab.publish()
    assert lab.plan("us/a1").shares == (("eu/a1", 3_000), ("us/a1", 1_000))
    lab.of("us/a1").uplink = 9_000
    lab.say("us/a1")
    lab.run(2)
    assert lab.plan("us/a1").shares == lab.plan("eu/a1").shares == (("eu/a1", 3_000), ("us/a1", 1_000))


def test_nobody_waits_for_who_has_put_it_aside(lab: TransferLab) -> None:
    sequence = lab.publish()
    lab.of("us/a1").aside.add(sequence)
    lab.say("us/a1")
    lab.run(2)
    assert [agent for agent, _ in lab.plan("eu/a1").shares] == ["eu/a1"]
    assert lab.plan("us/a1").shares == () and lab.plan("us/a1").holders == ("ap/a1",)


def test_a_superseded_version_is_fetched_from_holders_alone(lab: TransferLab) -> None:
    first = lab.publish()
    second = lab.publish()
    newest = {plan.sequence: plan for plan in lab.plans["eu/a1"]}
    assert newest[first].shares == () and newest[first].holders == ("ap/a1",)
    assert [agent for agent, _ in newest[second].shares] == ["eu/a1", "us/a1"]


def test_of_a_model_that_was_removed_nothing_is_fetched(lab: TransferLab) -> None:
    sequence = lab.publish()
    draft = lab.draft("m", b"", kind=EntryKind.MODEL, format="", digest="", removed=True, parent=sequence)
    lab.append(draft, Durability.LOCAL)
    lab.run(1)
    lab.add("sa", "a1")
    lab.run(2)
    assert all(plan.shares == () for plan in lab.plans.get("sa/a1", []))


def test_many_that_fetch_are_cohorts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "COHORT_MAX", 4)
    lab = TransferLab({"ap": 1, "eu": 10})
    lab.publish()
    shares = {lab.plan(key).shares for key in lab.nodes if key != "ap/a1"}
    assert sorted(len(one) for one in shares) == [2, 4, 4]
    members = [agent for one in shares for agent, _ in one]
    assert sorted(members) == sorted(key for key in lab.nodes if key != "ap/a1"), "each is in one"


def test_a_new_coordinator_tells_anew(lab: TransferLab) -> None:
    lab.publish()
    lab.stop()
    lab.start()
    lab.plans.clear()
    lab.run(4)
    assert [agent for agent, _ in lab.plan("eu/a1").shares] == ["eu/a1", "us/a1"]
    assert lab.plan("eu/a1").holders == ("ap/a1",)


def test_of_an_entry_that_is_not_durable_nobody_hears(lab: TransferLab) -> None:
    """I7."""
    lab.hold_disk = True
    lab.publish(wait_s=1.5)
    lab.add("sa", "a1")
    lab.run(1.5)
    assert not lab.plans
    lab.stop()
    lab.hold_disk = False
    lab.start()
    lab.publish(wait_s=4)
    assert lab.plan("eu/a1").holders == ("ap/a1",)
