"""What the HTTP port prints is what `json_format` prints, for any message of the public API."""

from __future__ import annotations

import json
from typing import Any

import primacy_coordinator.services  # noqa: F401  # registers every service of the API
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, Parse
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from primacy_coordinator.web.gateway import ACTIONS, READS
from primacy_coordinator.web.proto_json import message_bytes, message_dict

ANSWERS = sorted(
    {
        descriptor_pool.Default().FindServiceByName(f"primacy.v1.{service}Service").methods_by_name[name].output_type
        for table in (READS, ACTIONS)
        for service, names in table.items()
        for name in names
    },
    key=lambda descriptor: descriptor.full_name,
)
DEEP = 5

PLAIN: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(),
}


def fill(draw: st.DrawFn, descriptor: Descriptor, deep: int = 0) -> Message:
    """A message with some of its fields set."""
    message: Any = message_factory.GetMessageClass(descriptor)()
    if isinstance(message, Duration):
        message.FromNanoseconds(draw(st.integers(-(10**18), 10**18)))
        return message
    if isinstance(message, Timestamp):
        message.seconds, message.nanos = draw(st.integers(0, 2**32)), draw(st.integers(0, 999_999_999))
        return message
    for field in descriptor.fields:
        if deep > DEEP or not draw(st.booleans()):
            continue
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            value = entry.fields_by_name["value"]
            for key in draw(st.lists(values_of(entry.fields_by_name["key"]), max_size=2)):
                if value.message_type is not None:
                    getattr(message, field.name)[key].CopyFrom(fill(draw, value.message_type, deep + 1))
                else:
                    getattr(message, field.name)[key] = draw(values_of(value))
        elif field.is_repeated and entry is not None:
            getattr(message, field.name).append(fill(draw, entry, deep + 1))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(values_of(field), max_size=2)))
        elif entry is not None:
            getattr(message, field.name).CopyFrom(fill(draw, entry, deep + 1))
        else:
            setattr(message, field.name, draw(values_of(field)))
    return message


def values_of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([*field.enum_type.values_by_number, 4711])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=9)
    if field.type == FieldDescriptor.TYPE_STRING:
        return st.text(max_size=9)
    return PLAIN[field.cpp_type]


@pytest.mark.parametrize("descriptor", ANSWERS, ids=lambda descriptor: descriptor.name)
def test_it_says_what_json_format_says(descriptor: Descriptor) -> None:
    @given(st.data())
    @settings(max_examples=30)
    def check(data: st.DataObject) -> None:
        message = fill(data.draw, descriptor)
        assert message_dict(message) == MessageToDict(message, always_print_fields_with_no_presence=True)
        text = message_bytes(message)
        assert b"\n" not in text
        assert message_dict(Parse(text, type(message)())) == json.loads(text)

    check()
