"""Phases and hooks of an agent: what runs when, what is said when, and what ACTIVE means (I1, I7)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.events import HookDone, ReleaseNow
from primacy_agent.core.hooks import HookKind, HookSettings
from primacy_agent.core.memory import Memory
from primacy_wire.instant import SECOND_NS
from primacy_wire.messages import Lineage, Phase

from tests.unit.agent.hooked import BOTH, TTL_NS, Hooked

PROMOTE_ONLY = HookSettings("default", on_promote=True)
DEMOTE_ONLY = HookSettings("default", on_demote=True)


def test_active_only_when_on_promote_has_succeeded_and_that_is_durable() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.slow_disk = True
    agent.offer(1, from_region="us", reason="failover-7")
    assert agent.ran == [] and agent.accepted() == []
    agent.flush()
    assert agent.accepted() == [(1, True)]
    assert agent.phase is Phase.PROMOTING
    assert agent.environment() == {
        "PRIMACY_EPOCH": "1", "PRIMACY_GROUP": "default", "PRIMACY_REGION": "eu", "PRIMACY_FROM": "us",
        "PRIMACY_REASON": "failover-7",
    }  # fmt: skip
    assert agent.reported().phase is Phase.PROMOTING
    agent.end_hook(0, "promoted\n")
    assert agent.phase is Phase.PROMOTING
    agent.flush()
    assert agent.phase is Phase.ACTIVE
    assert agent.disk.promoted_epoch == 1
    (told,) = agent.hooks_told()
    assert (told.hook, told.epoch, told.outcome, told.exit_code, told.output) == (
        "on_promote", 1, "succeeded", 0, "promoted\n",
    )  # fmt: skip


def test_the_lease_is_renewed_while_on_promote_runs() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    agent.pass_s(40, renewing=1)
    assert agent.phase is Phase.PROMOTING
    agent.end_hook()
    assert agent.phase is Phase.ACTIVE
    assert agent.names() == [("on_promote", 1)]


def test_without_hooks_nothing_changes() -> None:
    agent = Hooked(HookSettings())
    agent.hear(1)
    agent.offer(1)
    assert agent.phase is Phase.ACTIVE
    assert agent.accepted() == [(1, False)]
    agent.order_release(1)
    assert agent.phase is Phase.STANDBY
    assert agent.released() == [(1, "ordered")]


@pytest.mark.parametrize(
    ("exit_code", "output", "started", "reason", "outcome"),
    [
        (3, "first\nno standby here\n", True, "on_promote exited 3: no standby here", "failed"),
        (1, "", True, "on_promote exited 1", "failed"),
        (-11, "", True, "on_promote was ended by signal 11", "failed"),
        (-1, "/x cannot be started: No such file", False,
         "on_promote could not be started: /x cannot be started: No such file", "not started"),
    ],
)  # fmt: skip
def test_a_failed_promotion_releases_with_its_reason_after_the_demotion(
    exit_code: int, output: str, started: bool, reason: str, outcome: str
) -> None:
    agent = Hooked()
    agent.hear(4)
    agent.offer(4)
    agent.end_hook(exit_code, output, started)
    assert agent.phase is Phase.DEMOTING
    assert agent.environment()["PRIMACY_REASON"] == reason
    assert agent.released() == []
    assert agent.reported().released_epoch == 3
    agent.end_hook()
    assert agent.released() == [(4, reason)]
    assert agent.reported().released_epoch == 4
    assert agent.phase is Phase.STANDBY
    assert agent.names() == [("on_promote", 4), ("on_demote", 4)]
    assert [told.outcome for told in agent.hooks_told()] == [outcome, "succeeded"]
    agent.offer(4)
    assert agent.phase is Phase.STANDBY  # Final.


def test_a_promotion_that_hangs_is_killed_at_its_timeout() -> None:
    agent = Hooked(HookSettings("default", on_promote=True, on_demote=True, promote_timeout_ns=20 * SECOND_NS))
    agent.hear(1)
    agent.offer(1)
    agent.pass_s(19.5, renewing=1)
    assert agent.killed == []
    deadline_ns = agent.holder.next_deadline()
    assert deadline_ns is not None and deadline_ns <= agent.now.mono_ns + SECOND_NS
    agent.pass_s(1, renewing=1)
    assert [(kill.kind, kill.epoch) for kill in agent.killed] == [(HookKind.ON_PROMOTE, 1)]
    assert agent.phase is Phase.DEMOTING
    assert agent.names() == [("on_promote", 1)]  # Its end is awaited first.
    agent.end_hook(-9, "waiting for the standby\n")
    assert agent.names()[-1] == ("on_demote", 1)
    agent.end_hook()
    assert agent.released() == [(1, "on_promote timed out after 20 s")]
    told = agent.hooks_told()[0]
    assert (told.outcome, told.exit_code, told.output) == ("timed out", -1, "waiting for the standby\n")


def test_a_release_order_is_acknowledged_after_on_demote() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.order_release(1)
    assert agent.phase is Phase.DEMOTING
    assert not agent.holder.active(agent.now).remaining_ns
    assert agent.environment() | {"PRIMACY_EPOCH": "1", "PRIMACY_FROM": "eu"} == agent.environment()
    agent.order_release(1)  # The first may have been lost.
    assert agent.released() == []
    agent.end_hook()
    assert agent.released() == [(1, "ordered")]
    assert agent.disk.demote_owed_epoch == agent.disk.promoted_epoch == 0
    agent.pass_s(60)
    assert agent.names() == [("on_promote", 1), ("on_demote", 1)]


def test_a_demotion_that_hangs_delays_the_release_by_its_timeout_only_and_is_tried_again() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.order_release(1)
    agent.pass_s(4.5)
    assert agent.released() == []
    agent.pass_s(1)
    assert len(agent.killed) == 1
    agent.end_hook(-9)
    assert agent.released() == [(1, "ordered")]
    assert agent.phase is Phase.DEMOTING
    assert "tried again" in agent.holder.active(agent.now).reason
    agent.pass_s(5)
    assert agent.names() == [("on_promote", 1), ("on_demote", 1), ("on_demote", 1)]
    agent.end_hook(1)
    agent.pass_s(9.5)
    assert len(agent.ran) == 3
    agent.pass_s(0.5)  # The pause doubles.
    agent.end_hook()
    assert agent.phase is Phase.STANDBY
    assert len(agent.released()) == 1
    assert agent.holder.next_deadline() is None


def test_expiry_demotes_after_it_and_a_revival_promotes_again() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.pass_s(4.5)
    assert agent.phase is Phase.ACTIVE
    agent.pass_s(0.5)
    assert agent.phase is Phase.DEMOTING
    assert agent.environment()["PRIMACY_REASON"] == "the lease ran out"
    assert agent.released() == []  # The coordinator may give the same epoch back.
    agent.answer(1, renews=True)
    assert agent.phase is Phase.PROMOTING
    agent.end_hook()
    assert agent.phase is Phase.PROMOTING
    assert agent.names() == [("on_promote", 1), ("on_demote", 1), ("on_promote", 1)]
    agent.end_hook()
    assert agent.phase is Phase.ACTIVE
    assert agent.disk.demote_owed_epoch == 1


def test_a_revival_after_the_demotion_owes_another_one() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.pass_s(6)
    agent.end_hook()
    assert (agent.phase, agent.disk.demote_owed_epoch) == (Phase.STANDBY, 0)
    agent.slow_disk = True
    agent.answer(1, renews=True)
    assert agent.phase is Phase.PROMOTING and agent.running is None  # What is owed is durable first.
    agent.flush()
    assert agent.disk.demote_owed_epoch == 1
    agent.end_hook()
    agent.flush()
    assert agent.phase is Phase.ACTIVE


def test_without_on_demote_a_revived_lease_is_active_at_once() -> None:
    agent = Hooked(PROMOTE_ONLY)
    agent.promote(1)
    agent.pass_s(6)
    assert agent.phase is Phase.STANDBY
    agent.answer(1, renews=True)
    assert agent.phase is Phase.ACTIVE
    assert agent.names() == [("on_promote", 1)]


def test_on_demote_alone_keeps_nobody_waiting() -> None:
    agent = Hooked(DEMOTE_ONLY)
    agent.hear(1)
    agent.offer(1)
    assert agent.phase is Phase.ACTIVE
    assert agent.accepted() == [(1, False)]
    agent.order_release(1)
    agent.end_hook()
    assert agent.released() == [(1, "ordered")]


def test_a_lease_lost_while_promoting_kills_the_hook_before_anything_else() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    agent.order_release(1)
    assert len(agent.killed) == 1
    assert agent.names() == [("on_promote", 1)]
    assert agent.released() == []
    agent.end_hook(-9, "half done")
    assert agent.names() == [("on_promote", 1), ("on_demote", 1)]
    agent.end_hook()
    assert agent.released() == [(1, "ordered")]
    told = agent.hooks_told()[0]
    assert (told.outcome, told.exit_code) == ("failed", -1)
    assert told.output == "half done\n(killed: its lease is gone)"


def test_without_on_demote_a_release_waits_for_the_killed_hook() -> None:
    agent = Hooked(PROMOTE_ONLY)
    agent.hear(1)
    agent.offer(1)
    agent.order_release(1)
    assert agent.released() == []
    agent.end_hook(-9)
    assert agent.released() == [(1, "ordered")]


@pytest.mark.parametrize("exit_code", [-9, 0], ids=["killed", "it had just succeeded"])
def test_a_lease_that_is_revived_after_it_ran_out_while_promoting_is_promoted_after_all(exit_code: int) -> None:
    agent = Hooked(PROMOTE_ONLY)
    agent.hear(1)
    agent.offer(1)
    agent.pass_s(6)
    agent.end_hook(exit_code)
    assert agent.phase is Phase.STANDBY
    agent.answer(1, renews=True)
    assert agent.phase is Phase.PROMOTING
    assert agent.names() == [("on_promote", 1), ("on_promote", 1)]
    agent.end_hook()
    assert agent.phase is Phase.ACTIVE


def test_a_clock_that_stood_still_undoes_nothing() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.stand_still_s(2)
    assert agent.phase is Phase.STANDBY
    assert agent.names() == [("on_promote", 1)]
    agent.answer(1, renews=True)
    assert agent.phase is Phase.ACTIVE


def test_but_it_does_when_nobody_answers() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.stand_still_s(2)
    agent.pass_s(5.5)
    assert agent.phase is Phase.DEMOTING


def test_frozen_while_promoting_stays_promoting() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    agent.freeze(1)
    assert agent.phase is Phase.PROMOTING
    agent.end_hook()
    assert agent.phase is Phase.FROZEN
    agent.pass_s(3, renewing=1)
    assert agent.phase is Phase.ACTIVE


def test_an_older_epoch_is_demoted_before_a_newer_one_is_promoted() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.order_release(1)
    agent.offer(2)
    assert agent.phase is Phase.PROMOTING
    assert agent.accepted()[-1] == (2, True)
    assert agent.names()[-1] == ("on_demote", 1)
    agent.end_hook()
    assert agent.released() == [(1, "ordered")]
    assert agent.names()[-1] == ("on_promote", 2)
    agent.end_hook()
    assert agent.phase is Phase.ACTIVE
    assert agent.disk.demote_owed_epoch == 2


def test_a_newer_epoch_elsewhere_demotes() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.answer(2, renews=False)
    assert agent.phase is Phase.DEMOTING
    assert agent.environment()["PRIMACY_REASON"] == "epoch 2 was decided"


def test_stopping_with_release_demotes_first() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.post(ReleaseNow("the agent was stopped with releaseOnStop"))
    assert not agent.holder.is_settled
    agent.end_hook()
    assert agent.holder.is_settled
    assert agent.released() == [(1, "the agent was stopped with releaseOnStop")]


# ---- lives


def test_a_restart_runs_on_promote_again_without_leaving_active() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.begin_life()
    assert agent.phase is Phase.STANDBY
    agent.hear(1)
    agent.offer(1, from_region="eu")
    assert agent.accepted()[-1] == (1, False)
    assert agent.phase is Phase.ACTIVE
    assert agent.names() == [("on_promote", 1), ("on_promote", 1)]
    agent.end_hook(1, "it is promoted already")
    assert agent.phase is Phase.ACTIVE
    assert agent.released() == []
    assert agent.hooks_told()[-1].outcome == "failed"


def test_a_rerun_that_hangs_is_killed_and_changes_nothing() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.begin_life()
    agent.hear(1)
    agent.offer(1)
    agent.pass_s(61, renewing=1)
    assert len(agent.killed) == 1
    agent.end_hook(-9)
    assert agent.phase is Phase.ACTIVE
    agent.pass_s(10, renewing=1)
    assert len(agent.ran) == 2


def test_a_restart_in_the_middle_of_a_promotion_promotes_anew() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    agent.begin_life()
    agent.hear(1)
    agent.offer(1)
    assert agent.accepted()[-1] == (1, True)
    assert agent.phase is Phase.PROMOTING
    agent.end_hook()
    assert agent.phase is Phase.ACTIVE


@pytest.mark.parametrize("promoted", [True, False])
def test_a_life_that_returns_to_a_newer_epoch_demotes_what_was_or_was_being_promoted(promoted: bool) -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    if promoted:
        agent.end_hook()
    agent.begin_life()
    assert agent.phase is Phase.STANDBY
    agent.hear(2)
    assert agent.phase is Phase.DEMOTING
    assert agent.names()[-1] == ("on_demote", 1)
    assert agent.environment()["PRIMACY_REASON"] == "epoch 2 was decided"
    agent.end_hook()
    assert agent.phase is Phase.STANDBY


def test_what_was_heard_in_an_earlier_life_needs_no_coordinator() -> None:
    agent = Hooked(disk=Memory(Lineage("store", "run", 1), 2, accepted_epoch=1, demote_owed_epoch=1, promoted_epoch=1))
    assert agent.names() == [("on_demote", 1)]


def test_a_life_without_a_coordinator_demotes_when_the_lease_cannot_come_back() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.begin_life()
    deadline_ns = agent.holder.next_deadline()
    assert deadline_ns is not None
    assert deadline_ns == agent.now.mono_ns + 2 * TTL_NS
    agent.pass_s(9.5)
    assert agent.phase is Phase.STANDBY
    agent.pass_s(0.5)
    assert agent.phase is Phase.DEMOTING
    # It is the same epoch's again all the same, when a coordinator says so.
    agent.end_hook()
    agent.hear(1)
    agent.offer(1)
    assert agent.accepted()[-1] == (1, True)


def test_an_interrupted_demotion_is_done_by_the_next_life() -> None:
    agent = Hooked()
    agent.promote(1)
    agent.order_release(1)
    agent.begin_life()
    agent.hear(1)
    assert agent.disk.promoted_epoch == 0
    assert agent.phase is Phase.STANDBY
    agent.hear(2)
    assert agent.names()[-1] == ("on_demote", 1)


def test_an_end_of_a_hook_that_does_not_run_changes_nothing() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1)
    agent.post(HookDone(HookKind.ON_DEMOTE, 1, 0))
    agent.post(HookDone(HookKind.ON_PROMOTE, 2, 0))
    assert agent.phase is Phase.PROMOTING
    assert agent.hooks_told() == []


def test_what_a_hook_prints_is_cut_to_its_end() -> None:
    agent = Hooked()
    agent.hear(1)
    agent.offer(1, reason="r\0" + "x" * 5_000)
    assert len(agent.environment()["PRIMACY_REASON"]) == 1_000
    assert "\0" not in agent.environment()["PRIMACY_REASON"]
    agent.end_hook(0, "y" * 10_000 + "end")
    assert len(agent.hooks_told()[0].output) == 4_000
    assert agent.hooks_told()[0].output.endswith("end")


# ---- any order of events

SETTINGS = [BOTH, PROMOTE_ONLY, DEMOTE_ONLY, HookSettings("g", True, True, 3 * SECOND_NS, SECOND_NS)]
Step = Callable[[Hooked, int], None]


def _end_some_hook(exit_code: int) -> Step:
    def end(agent: Hooked, _: int) -> None:
        if agent.running is not None:
            agent.end_hook(exit_code, started=exit_code >= -1)

    return end


def _near(agent: Hooked, number: int) -> int:
    """Mostly the newest epoch, at times the next or the one before."""
    return max(1, agent.holder.memory.heard_epoch + (0, 0, 0, 1, -1)[number - 1])


STEPS: dict[str, Step] = {
    "hear": lambda agent, n: agent.hear(_near(agent, n)),
    "offer": lambda agent, n: agent.offer(_near(agent, n)),
    "renew": lambda agent, n: agent.answer(_near(agent, n), renews=True),
    "answer": lambda agent, n: agent.answer(_near(agent, n), renews=False),
    "release": lambda agent, n: agent.order_release(_near(agent, n)),
    "freeze": lambda agent, n: agent.freeze(_near(agent, n)),
    "wait": lambda agent, n: agent.pass_s(n / 2),
    "wait long": lambda agent, n: agent.pass_s(4 * n),
    "wait renewed": lambda agent, n: agent.pass_s(n, renewing=agent.holder.memory.heard_epoch),
    "stand still": lambda agent, n: agent.stand_still_s(n),
    "hook succeeds": _end_some_hook(0),
    "hook fails": _end_some_hook(1),
    "hook does not start": _end_some_hook(-2),
    "disk": lambda agent, _: agent.flush(),
    "slow disk": lambda agent, n: setattr(agent, "slow_disk", n % 2 == 1),
    "stop": lambda agent, _: agent.post(ReleaseNow("stopped")),
    "new life": lambda agent, _: agent.begin_life(),
}


@given(st.sampled_from(SETTINGS), st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(1, 5)), max_size=40))
def test_active_always_means_a_valid_lease_and_a_promoted_service(
    settings: HookSettings, steps: list[tuple[str, int]]
) -> None:
    """`Hooked` checks after every event: two hooks never run at once, ACTIVE is never said without a valid lease and a
    durable success of that epoch's on_promote, and no report says a release that waits for a hook."""
    agent = Hooked(settings)
    agent.hear(1)
    for name, number in steps:
        STEPS[name](agent, number)
    # And when all goes well from here, a service that may have been promoted does not stay so without a lease.
    agent.slow_disk = False
    agent.flush()
    for _ in range(100):
        if agent.running is not None:
            agent.end_hook()
        agent.pass_s(10)
        if agent.running is None and agent.holder.next_deadline() is None:
            break
    assert agent.phase is Phase.STANDBY
    if settings.on_demote:
        assert (agent.disk.demote_owed_epoch, agent.disk.promoted_epoch, agent.promoted_epoch) == (0, 0, 0)
    assert agent.holder.is_settled
