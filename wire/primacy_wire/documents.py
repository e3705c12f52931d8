"""Configuration documents: JSON or YAML, read strictly, and written back in the form in which they came.

What a document may be is what both forms can say alike: objects with text keys, lists, texts, whole numbers within 64
bits, finite numbers, booleans and null. A key given twice, NaN, an anchor or a tag is refused, and so is what is nested
too deep, each with its place.
"""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import yaml

from primacy_wire.log_messages import CONTENT_BYTES_MAX
from primacy_wire.yaml_text import ConfigError, parse

DEPTH_MAX = 100
JSON, YAML = "json", "yaml"
FORMATS = (JSON, YAML)
MERGED_BYTES_MAX = {JSON: 256 * 1024, YAML: 32 * 1024}
"""Larger documents are not merged field by field: reading them takes too long where leases are renewed."""


class BadDocument(ValueError):
    """The text is no document. The message says where and what was expected, in one line."""


def format_of(key: str) -> str:
    """The form that a key's name suggests; YAML holds both."""
    return JSON if key.lower().endswith(".json") else YAML


def read(content: bytes, form: str, name: str = "document") -> Any:
    """The value that a document says. Raises BadDocument."""
    if len(content) > CONTENT_BYTES_MAX:
        raise BadDocument(f"{name} has {len(content):,} bytes; at most {CONTENT_BYTES_MAX:,} are taken")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDocument(f"{name} is no UTF-8 text: byte {error.start} cannot be read") from error
    if "\0" in text:
        raise BadDocument(f"{name} has a zero byte")
    if form == JSON:
        value = _read_json(text, name)
    elif form == YAML:
        value = _read_yaml(text, name)
    else:
        raise BadDocument(f"{name} has the format {form!r}; json or yaml is expected")
    _check(value, name)
    if "\\u" in text:
        _check_escapes(value, name)
    return value


def _check_escapes(value: Any, name: str) -> None:
    """Raises BadDocument for half a surrogate pair: it could not be written again."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise BadDocument(
            f"{name} has an escape that is half a character: \\u{ord(error.object[error.start]):04x}"
        ) from None


def write(value: Any, form: str) -> bytes:
    """A document that says `value`, readable for people, with its keys in their order."""
    if form == JSON:
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    text: str = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=120
    )
    return text.encode()


class _Dumper(yaml.SafeDumper):
    """Quotes every text that could be taken for something else by any reader of YAML."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


class _Twice(ValueError):
    """A key is given twice in one object."""


def _pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(found)
    if len(value) != len(found):
        seen: set[str] = set()
        raise _Twice(next(key for key, _ in found if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return value


def _constant(word: str) -> Any:
    raise BadDocument(f"{word} is no JSON")


_JSON = json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=_constant)


def _read_json(text: str, name: str) -> Any:
    try:
        return _JSON.decode(text)
    except json.JSONDecodeError as error:
        raise BadDocument(f"{name}:{error.lineno}: {error.msg}, at column {error.colno}") from error
    except RecursionError:
        raise BadDocument(f"{name} is nested deeper than {DEPTH_MAX} levels") from None
    except _Twice as error:
        raise BadDocument(f"{name}: the key {error.args[0]!r} is given twice in one object") from None
    except BadDocument as error:
        raise BadDocument(f"{name}: {error}") from None
    except ValueError:
        raise BadDocument(f"{name} has a number that does not fit into 64 bits") from None


def _read_yaml(text: str, name: str) -> Any:
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            place = f"{name}:{event.start_mark.line + 1}" if event.start_mark else name
            # What is too deep must not get as far as a tree: making one ends the whole process.
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise BadDocument(f"{place}: nested deeper than {DEPTH_MAX} levels")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise BadDocument(f"{place}: anchors and aliases are not taken")
            if getattr(event, "tag", None):
                raise BadDocument(f"{place}: tags are not taken")
        return parse(text, name).value
    except ConfigError as error:
        raise BadDocument(error.problems[0]) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise BadDocument(f"{place}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise BadDocument(f"{name} cannot be read: {error}") from error
    except BadDocument:
        raise
    except ValueError:
        raise BadDocument(f"{name} has a number that does not fit into 64 bits") from None


def _check(value: Any, name: str) -> None:
    """Raises BadDocument for what the two forms do not both say alike."""
    level = [value]
    for _ in range(DEPTH_MAX):
        deeper: list[Any] = []
        for one in level:
            if isinstance(one, float) and not math.isfinite(one):
                raise BadDocument(f"{name}: {one} cannot be written as JSON")
            if isinstance(one, int) and not -(1 << 63) <= one < 1 << 64:
                raise BadDocument(f"{name}: {one:#x}"[:80] + " does not fit into 64 bits")
            deeper += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if not deeper:
            return
        level = deeper
    raise BadDocument(f"{name} is nested deeper than {DEPTH_MAX} levels")


def canonical(value: Any) -> bytes:
    """The same bytes for the same value, whatever it was written in."""
    return msgspec.json.encode(value, order="sorted")
