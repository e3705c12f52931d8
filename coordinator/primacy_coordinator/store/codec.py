"""Records and decisions' inputs as JSON.

Missing fields take their defaults, so records may grow. A field or a kind that this version does not know, however
deep, means that a newer one wrote it: reading on would lose it with the next write.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec

from primacy_coordinator.core.model import RECORD_TYPES, Record

_TYPES: dict[str, type[Record]] = {record_type.kind: record_type for record_type in RECORD_TYPES}
_DECODERS = {kind: msgspec.json.Decoder(record_type) for kind, record_type in _TYPES.items()}


class BadRecord(ValueError):
    """A stored record is not one of ours, or a record of ours cannot be stored."""


class NewerRecord(BadRecord):
    """A stored record has what only a newer version can have put there."""


def encode_record(record: Record) -> str:
    """Raises BadRecord, rather than store what could not be read again."""
    try:
        body = msgspec.json.encode(record)
        if b"null" in body:
            # JSON has no infinity and no NaN: they came out as null, where a number must be.
            _DECODERS[record.kind].decode(body)
        return body.decode()
    except (ValueError, TypeError, OverflowError) as error:
        raise BadRecord(f"a {record.kind} record ({record.key!r}) cannot be written as JSON: {error}") from error


def decode_record(kind: str, key: str, body: str) -> Record:
    """Raises BadRecord, NewerRecord."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise NewerRecord(f"records of kind {kind!r} are not known to this version")
    try:
        record = decoder.decode(body)
        # Written by this very version, as nearly always, it comes out the same byte for byte.
        again = msgspec.json.encode(record)
        extra = "" if again == body.encode() else _extra(msgspec.json.decode(body), msgspec.json.decode(again))
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"the {kind} record {key!r} cannot be read: {error}") from error
    if extra:
        raise NewerRecord(f"the {kind} record {key!r} has a field that this version does not know: {extra}")
    if record.key != key:
        raise BadRecord(f"the {kind} record {key!r} calls itself {record.key!r}")
    return record


def _extra(stored: Any, known: Any, path: str = "") -> str:
    """The path of the first field of `stored` that `known`, the same value as this version writes it, lacks."""
    if isinstance(stored, dict) and isinstance(known, dict):
        for name, value in stored.items():
            if name not in known:
                return f"{path}.{name}".lstrip(".")
            found = _extra(value, known[name], f"{path}.{name}")
            if found:
                return found
    elif isinstance(stored, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(stored, known, strict=True)):
            found = _extra(one, other, f"{path}[{number}]")
            if found:
                return found
    return ""


def encode_inputs(inputs: object) -> str:
    """The inputs of a decision, enums by name, for the journal. Empty for None.

    What cannot be written says so in its place: the entry itself matters more.
    """
    if inputs is None:
        return ""
    try:
        return msgspec.json.encode(_plain(inputs)).decode()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        return msgspec.json.encode({"unwritable": f"{type(inputs).__name__}: {type(error).__name__}"}).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    return value
