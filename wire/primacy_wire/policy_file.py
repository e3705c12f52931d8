"""Policies as people write them: YAML or JSON with the names of proto3 JSON.

Unknown keys are refused. Enum values are taken with or without their prefix, in either case; lengths of time are
written as proto3 JSON has them (`2.5s`), and read in other units, too (`5m`, `1h30m`, `30d`).
"""

from __future__ import annotations

import math
import re
from typing import Any, TypeAlias

import yaml
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration as DurationProto
from primacy.v1 import policy_pb2

from primacy_wire.durations import Duration, seconds_text
from primacy_wire.yaml_text import ConfigError, Document, Path, did_you_mean, dotted, parse

_Field: TypeAlias = Any
"""protobuf's FieldDescriptor: its types differ by implementation."""
_STEP = re.compile(r"\[(\d+)\]|([^.\[\]]+)")
_DURATION = DurationProto.DESCRIPTOR.full_name
_INTEGERS = {FieldDescriptor.CPPTYPE_INT32: 31, FieldDescriptor.CPPTYPE_INT64: 63}


def policy_from_text(text: str, name: str = "policy") -> policy_pb2.Policy:
    """Read a policy. What is not given stays unset. Raises ConfigError with every problem, each with its line.

    `name` is the file's name, for messages.
    """
    document = parse(text, name)
    reading = _Reading(document)
    policy = policy_pb2.Policy()
    reading.fill(policy, document.value, ())
    if reading.problems:
        raise ConfigError(reading.problems)
    return policy


def policy_to_yaml(policy: policy_pb2.Policy, with_etag: bool = False) -> str:
    """Write a policy as YAML that `policy_from_text` reads back. Keys stand in the order of the contract."""
    values = json_format.MessageToDict(policy)
    if not with_etag:
        values.pop("etag", None)
    _polish(policy, values)
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=False, allow_unicode=True) if values else "{}\n"


def place_of(text: str, name: str, path: str) -> str:
    """`policy.yaml:9`: where a text says what is at a path like `alertRules[1].for`, or what is nearest around it."""
    steps = tuple(int(index) if index else key for index, key in _STEP.findall(path))
    return parse(text, name).place(steps)


def _polish(message: Any, values: dict[str, Any]) -> None:
    """Lengths of time without needless zeros, and the keys of maps in order."""
    for field, value in message.ListFields():
        if field.json_name not in values:
            continue
        if isinstance(value, DurationProto):
            values[field.json_name] = seconds_text(value.ToNanoseconds())
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            values[field.json_name] = dict(sorted(values[field.json_name].items()))
        elif field.is_repeated:
            for one, below in zip(value, values[field.json_name], strict=True):
                _polish(one, below)
        else:
            _polish(value, values[field.json_name])


class _Reading:
    def __init__(self, document: Document) -> None:
        self.problems: list[str] = []
        self._document = document

    def fill(self, message: Any, value: Any, path: Path) -> None:
        """Set the message's fields from a mapping."""
        if not isinstance(value, dict):
            self._refuse(path, "must be a mapping")
            return
        known = {field.json_name: field for field in message.DESCRIPTOR.fields}
        chosen: dict[str, str] = {}
        for name, item in value.items():
            below = (*path, name)
            if name not in known:
                self._refuse(below, f"unknown key{did_you_mean(name, known)}")
            elif item is not None:  # null means not given, as in JSON
                choice = known[name].containing_oneof
                if choice is not None and chosen.setdefault(choice.name, name) != name:
                    self._refuse(below, f"excludes {chosen[choice.name]}: give one of them")
                    continue
                self._set(message, known[name], item, below)

    def _set(self, message: Any, field: _Field, value: Any, path: Path) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._set_map(message, field, value, path)
        elif field.is_repeated:
            self._set_list(message, field, value, path)
        elif field.message_type is not None and field.message_type.full_name == _DURATION:
            self._set_duration(message, field, value, path)
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
            self.fill(getattr(message, field.name), value, path)
        else:
            read = self._scalar(field, value, path)
            if read is not None:
                setattr(message, field.name, read)

    def _set_map(self, message: Any, field: _Field, value: Any, path: Path) -> None:
        if not isinstance(value, dict):
            self._refuse(path, "must be a mapping")
            return
        inner = field.message_type.fields_by_name["value"]
        for key, item in value.items():
            read = self._scalar(inner, item, (*path, key))
            if read is not None:
                getattr(message, field.name)[key] = read

    def _set_list(self, message: Any, field: _Field, value: Any, path: Path) -> None:
        if not isinstance(value, list):
            self._refuse(path, "must be a list")
            return
        for index, item in enumerate(value):
            if field.message_type is not None:
                self.fill(getattr(message, field.name).add(), item, (*path, index))
                continue
            read = self._scalar(field, item, (*path, index))
            if read is not None:
                getattr(message, field.name).append(read)

    def _set_duration(self, message: Any, field: _Field, value: Any, path: Path) -> None:
        try:
            if not isinstance(value, str):
                raise ValueError
            read = DurationProto()
            read.FromNanoseconds(Duration.of(value))
        except ValueError:
            hint = f': write "{value}s"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
            self._refuse(path, f'must be a length of time like "2.5s" or "5m", got {value!r}{hint}')
        else:
            getattr(message, field.name).CopyFrom(read)

    def _scalar(self, field: _Field, value: Any, path: Path) -> Any:
        """The value as the field wants it, or None after a problem."""
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self._enum(field.enum_type, value, path)
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return value if isinstance(value, str) else self._refuse(path, f"must be a text, got {value!r}")
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return value if isinstance(value, bool) else self._refuse(path, f"must be true or false, got {value!r}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self._refuse(path, f"must be a number, got {value!r}")
        if kind in _INTEGERS:
            fits = isinstance(value, int) and abs(value) < 2 ** _INTEGERS[kind]
            return value if fits else self._refuse(path, f"must be a whole number, got {value!r}")
        return float(value) if math.isfinite(value) else self._refuse(path, f"must be finite, got {value!r}")

    def _enum(self, enum: Any, value: Any, path: Path) -> int | None:
        zero: str = enum.values_by_number[0].name
        prefix = zero.removesuffix("UNSPECIFIED")
        word = str(value).upper().replace("-", "_").removeprefix(prefix)
        found = enum.values_by_name.get(prefix + word)
        if isinstance(value, str) and found is not None and found.number != 0:
            return int(found.number)
        names = [each.name.removeprefix(prefix) for each in enum.values if each.number != 0]
        self._refuse(path, f"must be one of {', '.join(names)}, got {value!r}")
        return None

    def _refuse(self, path: Path, text: str) -> None:
        where = dotted(path)
        place = self._document.place(path)
        self.problems.append(f"{place}: {where}: {text}" if where else f"{place}: {text}")
