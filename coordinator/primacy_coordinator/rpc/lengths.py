"""Lengths and instants between nanoseconds and their protobuf types."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from primacy_wire.instant import SECOND_NS


def render_length(length_ns: int) -> Duration:
    """A length of time, also a negative one."""
    length = Duration()
    length.FromNanoseconds(length_ns)
    return length


def render_instant(wall_ns: int) -> Timestamp:
    return Timestamp(seconds=wall_ns // SECOND_NS, nanos=wall_ns % SECOND_NS)


def length_ns(length: Duration) -> int:
    """Nanoseconds of a duration, exactly."""
    return length.seconds * SECOND_NS + length.nanos
