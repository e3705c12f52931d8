"""The state of alerts as a text: nothing is lost on the way, and what cannot be read says so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.core.monitor.alerts.alert import Alert
from primacy_coordinator.core.monitor.alerts.book import Book
from primacy_coordinator.core.monitor.alerts.sending import Word
from primacy_coordinator.store.alert_book import Kept, decode_book, encode_book
from primacy_coordinator.store.codec import BadRecord

INTEGERS = st.integers(-(2**63), 2**63 - 1)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
st.register_type_strategy(int, INTEGERS)


@settings(max_examples=30)
@given(st.lists(st.from_type(Alert), max_size=3), st.dictionaries(st.text(max_size=5), st.from_type(Word), max_size=3))
def test_what_is_kept_is_read_again(alerts: list[Alert], told: dict[str, Word]) -> None:
    kept = Kept(Book(tuple(alerts), 3, (("errors", "no such series"),)), {"webhook": told})
    assert decode_book(encode_book(kept)) == kept


def test_nothing_is_an_empty_book() -> None:
    assert decode_book("") == Kept()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2}', '{"book": {"alerts": [{"life": {"state": 9}}]}}', "[" * 9999]
)
def test_what_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(BadRecord, match="the state of alerts"):
        decode_book(text)
