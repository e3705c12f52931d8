"""A second three-way merge of documents: slow, obvious, and made without a look at the first."""

from __future__ import annotations

import json
from typing import Any

from primacy_wire.merging import ABSENT


def text(value: Any) -> str:
    """The same for values that are the same in JSON's eyes, and for no others."""

    def plain(found: Any) -> Any:
        if isinstance(found, float) and found.is_integer():
            return int(found)
        if isinstance(found, list):
            return [plain(one) for one in found]
        if isinstance(found, dict):
            return {key: plain(one) for key, one in found.items()}
        return found

    return "absent" if value is ABSENT else json.dumps(plain(value), sort_keys=True)


def at(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(document, dict) or key not in document:
            return ABSENT
        document = document[key]
    return document


def paths(document: Any, before: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    found = {before}
    if isinstance(document, dict):
        for key, value in document.items():
            found |= paths(value, (*before, key))
    return found


def pointer(path: tuple[str, ...]) -> str:
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)


def merge(base: Any, first: Any, second: Any, second_wins: bool) -> tuple[Any, list[str]]:
    """Looks at every path that any of the three has, the short ones first. One that is decided is decided for all below
    it; the document is put together from what was decided.
    """
    decided: dict[tuple[str, ...], Any] = {}
    clashes = []
    for path in sorted(paths(base) | paths(first) | paths(second), key=lambda path: (len(path), path)):
        if any(path[:length] in decided for length in range(len(path))):
            continue
        old, one, other = (text(at(document, path)) for document in (base, first, second))
        if other in (one, old):
            decided[path] = at(first, path)
        elif old == one:
            decided[path] = at(second, path)
        elif not (one.startswith("{") and other.startswith("{")):
            clashes.append(pointer(path))
            decided[path] = at(second if second_wins else first, path)
    if () in decided:
        return decided[()], clashes
    result: dict[str, Any] = {}
    for path in sorted(paths(first) | paths(second), key=lambda path: (len(path), path)):
        ends = [length for length in range(len(path) + 1) if path[:length] in decided]
        if ends and (len(path) > ends[0] or decided[path] is ABSENT):
            continue
        if path:
            place = result
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = decided.get(path, {})
    return result, sorted(clashes)
