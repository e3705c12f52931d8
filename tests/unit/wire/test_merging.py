"""Three-way merge: by example, by its laws, and beside a second implementation that is slow and obvious."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_wire import merging
from primacy_wire.merging import merge

from tests.unit.wire import dumb_merging
from tests.unit.wire.dumb_merging import at, paths, pointer, text

KEYS = st.sampled_from(["a", "b", "c", "a/b", "~", ""])
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 2),
    st.sampled_from([0.0, 1.0, 1.5]),
    st.sampled_from(["", "x"]),
    st.lists(st.integers(0, 1), max_size=2),
)
DOCUMENTS = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(KEYS, DOCUMENTS, max_size=4)


# ---- both agree


@settings(max_examples=500, deadline=None)
@given(OBJECTS, st.data(), st.booleans())
def test_both_implementations_agree(base: Any, data: st.DataObject, second_wins: bool) -> None:
    first, second = (data.draw(changed(base)) for _ in range(2))
    found = merge(base, first, second, second_wins)
    value, clashes = dumb_merging.merge(base, first, second, second_wins)
    assert text(found.value) == text(value)
    assert list(found.clashes) == clashes


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, DOCUMENTS, DOCUMENTS, st.booleans())
def test_both_agree_of_anything(base: Any, first: Any, second: Any, second_wins: bool) -> None:
    found = merge(base, first, second, second_wins)
    value, clashes = dumb_merging.merge(base, first, second, second_wins)
    assert (text(found.value), list(found.clashes)) == (text(value), clashes)


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A version of a document: some of its fields changed, some gone, some new."""
    if not isinstance(document, dict):
        return draw(st.one_of(st.just(document), DOCUMENTS))
    found = {}
    for key, value in document.items():
        what = draw(st.sampled_from(["keep", "keep", "change", "drop"]))
        if what != "drop":
            found[key] = draw(changed(value)) if what == "change" else value
    return found | draw(st.dictionaries(KEYS, DOCUMENTS, max_size=1))


# ---- laws


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.data())
def test_it_does_not_matter_which_came_first(base: Any, data: st.DataObject) -> None:
    """The order of arrival changes nothing as long as the same one wins."""
    first, second = (data.draw(changed(base)) for _ in range(2))
    one, other = merge(base, first, second, second_wins=True), merge(base, second, first, second_wins=False)
    assert text(one.value) == text(other.value) and one.clashes == other.clashes


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.data(), st.booleans())
def test_who_changed_nothing_changes_nothing(base: Any, data: st.DataObject, second_wins: bool) -> None:
    version = data.draw(changed(base))
    for first, second in ((base, version), (version, base), (version, version)):
        found = merge(base, first, second, second_wins)
        assert text(found.value) == text(version) and not found.clashes


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.data(), st.booleans())
def test_merging_again_changes_nothing(base: Any, data: st.DataObject, second_wins: bool) -> None:
    first, second = (data.draw(changed(base)) for _ in range(2))
    value = merge(base, first, second, second_wins).value
    assert text(merge(value, value, value, second_wins).value) == text(value)
    assert not merge(base, value, value, second_wins).clashes


# ---- by example

EXAMPLES: dict[str, tuple[Any, Any, Any, Any, list[str]]] = {
    "different fields": ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 2}, []),
    "deep ones": ({"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1}}, {"a": {"x": 2}}, []),
    "the same field": ({"a": 1}, {"a": 2}, {"a": 3}, {"a": 3}, ["/a"]),
    "changed here, removed there": ({"a": 1}, {"a": 2}, {}, {}, ["/a"]),
    "removed by both": ({"a": 1, "b": 1}, {"b": 1}, {"b": 1}, {"b": 1}, []),
    "both made an object": ({}, {"a": {"x": 1}}, {"a": {"y": 1}}, {"a": {"x": 1, "y": 1}}, []),
    "an object and a value": ({"a": 1}, {"a": {"x": 1}}, {"a": 2}, {"a": 2}, ["/a"]),
    "lists are whole": ({"a": [1]}, {"a": [1, 2]}, {"a": [0, 1]}, {"a": [0, 1]}, ["/a"]),
    "null is a value": ({"a": 1}, {"a": None}, {"a": 1}, {"a": None}, []),
    "true is not 1": ({"a": 1}, {"a": True}, {"a": 1.0}, {"a": True}, []),
    "odd names": ({"a/b": 1, "~": 1}, {"a/b": 2, "~": 2}, {"a/b": 3, "~": 3}, {"a/b": 3, "~": 3}, ["/a~1b", "/~0"]),
    "no objects": (1, 2, 3, 3, [""]),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str) -> None:
    base, first, second, wanted, clashes = EXAMPLES[name]
    found = merge(base, first, second, second_wins=True)
    assert text(found.value) == text(wanted)
    assert list(found.clashes) == clashes
    assert dumb_merging.merge(base, first, second, True) == (found.value, sorted(clashes))


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, DOCUMENTS)
def test_differences_lead_from_one_to_the_other(before: Any, after: Any) -> None:
    found = {one.pointer: one for one in merging.differences(before, after)}
    assert bool(found) == (text(before) != text(after))
    for path in paths(before) | paths(after):
        if pointer(path) in found:
            one = found[pointer(path)]
            assert (text(one.before), text(one.after)) == (text(at(before, path)), text(at(after, path)))
            assert text(one.before) != text(one.after)
