"""Records and decisions' inputs as JSON.

Missing fields take their defaults, so records may grow; a field or a kind that this version does not know means that
a newer one wrote it.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec

from primacy_coordinator.core.model import RECORD_TYPES, Record

_TYPES: dict[str, type[Record]] = {record_type.kind: record_type for record_type in RECORD_TYPES}
_DECODERS = {kind: msgspec.json.Decoder(record_type) for kind, record_type in _TYPES.items()}
_FIELDS = {kind: frozenset(field.name for field in fields(record_type)) for kind, record_type in _TYPES.items()}
_RAW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BadRecord(ValueError):
    """A stored record is not one of ours, or not one of this version's."""


def encode_record(record: Record) -> bytes:
    return msgspec.json.encode(record)


def decode_record(kind: str, body: bytes) -> Record:
    """Raises BadRecord."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise BadRecord(f"records of kind {kind!r} are not known to this version")
    try:
        unknown = set(_RAW.decode(body)) - _FIELDS[kind]
        if unknown:
            raise BadRecord(f"a {kind} record has fields that this version does not know: {', '.join(sorted(unknown))}")
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise BadRecord(f"a {kind} record cannot be read: {error}") from error


def encode_inputs(inputs: object) -> str:
    """The inputs of a decision, enums by name, for the journal. Empty for None."""
    if inputs is None:
        return ""
    return msgspec.json.encode(_plain(inputs)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
