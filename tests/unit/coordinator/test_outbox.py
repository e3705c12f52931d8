"""Effects leave behind the batch that they follow; answers alone overtake."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from primacy_coordinator.core.effects import Changed, Effect, Persist, Send, Topic
from primacy_coordinator.shell.outbox import Outbox
from primacy_wire.messages import Answer, Lineage, Thaw

ANSWER = Send(1, Answer("life", 1, Lineage(), 1, True, 1, 1, 1, 1))
ORDER = Send(1, Thaw("freeze", "store"))
CHANGED = Changed(Topic.ACTIVE)


def outbox() -> tuple[Outbox, list[int], list[Effect]]:
    submitted: list[int] = []
    performed: list[Effect] = []
    return Outbox(lambda persist: submitted.append(persist.batch), performed.append), submitted, performed


def test_without_a_batch_everything_leaves_at_once() -> None:
    box, _, performed = outbox()
    box.push((ORDER, CHANGED))
    assert performed == [ORDER, CHANGED]


def test_what_follows_a_batch_waits_for_it_alone() -> None:
    box, submitted, performed = outbox()
    box.push((Persist(1, ()), ORDER))
    box.push((Persist(2, ()), CHANGED))
    assert (submitted, performed) == ([1, 2], [])
    box.settle(1)
    assert performed == [ORDER]
    box.settle(2)
    assert performed == [ORDER, CHANGED]


def test_an_answer_overtakes() -> None:
    box, _, performed = outbox()
    box.push((Persist(1, ()), ORDER))
    box.push((ANSWER, CHANGED))
    assert performed == [ANSWER]
    box.settle(1)
    assert performed == [ANSWER, ORDER, CHANGED]


@given(st.lists(st.sampled_from(["persist", "order", "answer", "settle"]), max_size=60))
def test_nothing_but_answers_leaves_before_its_batch_is_durable(steps: list[str]) -> None:
    """I7, for any interleaving: an effect pushed after batch N leaves only once N is durable, in order."""
    box, submitted, performed = outbox()
    due: list[tuple[int, Effect]] = []
    batch = durable = number = 0
    for step in steps:
        if step == "persist":
            batch += 1
            box.push((Persist(batch, ()),))
        elif step == "settle" and durable < batch:
            durable += 1
            box.settle(durable)
        elif step == "order":
            number += 1
            effect = Send(number, Thaw(str(number), "store"))
            due.append((batch, effect))
            box.push((effect,))
        elif step == "answer":
            box.push((ANSWER,))
            assert performed[-1] == ANSWER
        left = [effect for effect in performed if effect != ANSWER]
        assert left == [effect for needed, effect in due if needed <= durable]
        assert submitted == list(range(1, batch + 1))
        assert (box.submitted, box.durable) == (batch, durable)
