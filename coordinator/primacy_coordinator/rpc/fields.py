"""Reads the fields of a request and collects what is wrong with them, so that all of it is said at once."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from primacy.v1.region_pb2 import Location, Region
from primacy_wire.errors import BadField, InvalidRequest
from primacy_wire.names import DEFAULT_GROUP, NAME_RULE, is_name

from primacy_coordinator.core.model import RegionSettings
from primacy_coordinator.rpc.lengths import length_ns

ENDPOINT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?):([0-9]{1,5})")
LABEL_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?")
LABELS_COUNT_MAX = 64
LABEL_LENGTH_MAX = 256
TEXT_LENGTH_MAX = 1024
PORT_MAX = 65_535


class Fields:
    """What is wrong with one request. Each method reads one field and returns a value that is safe to go on with."""

    def __init__(self) -> None:
        self._bad: list[BadField] = []

    def add(self, path: str, reason: str, advice: str) -> None:
        self._bad.append(BadField(path, advice, reason))

    def check(self) -> None:
        """Raises `InvalidRequest` with everything that was found."""
        if self._bad:
            raise InvalidRequest(*self._bad)

    def name(self, path: str, value: str) -> str:
        """A region's or group's name."""
        if not is_name(value):
            self.add(path, "NAME_MALFORMED" if value else "REQUIRED", NAME_RULE)
        return value

    def optional_name(self, path: str, value: str) -> str:
        return self.name(path, value) if value else value

    def text(self, path: str, value: str) -> str:
        """Free text of an operator."""
        if len(value) > TEXT_LENGTH_MAX:
            self.add(path, "TOO_LONG", f"must be at most {TEXT_LENGTH_MAX} characters")
        return value

    def override(self, request: Message, reason: str, owner: str) -> tuple[str, str, int | None]:
        """(reason, owner, wall_ns at which it ends, or None) of an override."""
        self.text("reason", reason)
        self.text("owner", owner)
        if not reason.strip():
            self.add("reason", "REQUIRED", "must say why: whoever is paged next reads it")
        if not request.HasField("expire_time"):
            return reason, owner, None
        at: Any = getattr(request, "expire_time")  # noqa: B009 -- messages of four kinds have it
        return reason, owner, int(at.seconds) * 1_000_000_000 + int(at.nanos)

    def number(self, path: str, value: float, low: float = 0.0, high: float = math.inf) -> float:
        """A finite number from `low` to `high`, ends included."""
        if not math.isfinite(value):
            self.add(path, "NOT_FINITE", "must be a number, neither NaN nor infinite")
        elif not low <= value <= high:
            advice = f"must be {low:g} or more" if high == math.inf else f"must be from {low:g} to {high:g}"
            self.add(path, "OUT_OF_RANGE", advice)
        return value

    def length(self, path: str, value: Duration) -> int:
        """A length of time in nanoseconds, 0 or more."""
        found_ns = length_ns(value)
        if found_ns < 0 or not -1_000_000_000 < value.nanos < 1_000_000_000:
            self.add(path, "OUT_OF_RANGE", 'must be a duration of 0 or more, e.g. "2.5s"')
            return 0
        if found_ns >= 1 << 62:
            self.add(path, "OUT_OF_RANGE", "must be a shorter duration")
            return 0
        return found_ns

    def known(self, path: str, value: int, allowed: Iterable[int]) -> int:
        """A number of an enum that this version knows, or 0 for not set."""
        if value and all(value != number for number in allowed):
            self.add(path, "ENUM_UNKNOWN", f"{value} is no value that this version knows")
        return value

    def shares(self, path: str, values: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
        """A map from region names to numbers of 0 or more, sorted."""
        for name, value in values.items():
            if not is_name(name):
                self.add(f"{path}.{name}", "NAME_MALFORMED", f"the key {NAME_RULE}")
            self.number(f"{path}.{name}", value)
        return tuple(sorted(values.items()))

    def location(self, path: str, value: Location) -> tuple[float, float]:
        """(latitude, longitude) in degrees."""
        latitude = self.number(f"{path}.latitude", value.latitude, -90, 90)
        return latitude, self.number(f"{path}.longitude", value.longitude, -180, 180)

    def endpoint(self, path: str, value: str) -> str:
        """`host:port`, or empty."""
        if value:
            found = ENDPOINT.fullmatch(value)
            if found is None or not 0 < int(found[3]) <= PORT_MAX:
                self.add(path, "ENDPOINT_MALFORMED", "must be `host:port`, e.g. `10.0.0.1:8080` or `[::1]:8080`")
        return value

    def labels(self, path: str, values: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        if len(values) > LABELS_COUNT_MAX:
            self.add(path, "TOO_MANY", f"must be at most {LABELS_COUNT_MAX} labels")
        for key, value in values.items():
            if not LABEL_KEY.fullmatch(key):
                advice = (
                    "the key must be 1 to 63 letters, digits, `.`, `_`, `/` and `-`, and begin and end with one of "
                )
                self.add(f"{path}.{key}", "LABEL_MALFORMED", advice + "the first two")
            if len(value) > LABEL_LENGTH_MAX:
                self.add(f"{path}.{key}", "TOO_LONG", f"must be at most {LABEL_LENGTH_MAX} characters")
        return tuple(sorted(values.items()))

    def region_settings(self, path: str, region: Region) -> RegionSettings:
        """What an operator can set of a region; what is not set stays so."""
        latitude = longitude = priority = capacity = None
        if region.HasField("location"):
            latitude, longitude = self.location(f"{path}.location", region.location)
        if region.HasField("priority"):
            priority = region.priority
        if region.HasField("capacity"):
            capacity = self.number(f"{path}.capacity", region.capacity)
        return RegionSettings(
            latitude=latitude,
            longitude=longitude,
            priority=priority,
            capacity=capacity,
            endpoint=self.endpoint(f"{path}.endpoint", region.endpoint),
            labels=self.labels(f"{path}.labels", region.labels),
        )

    def required(self, path: str, request: Message, field: str) -> None:
        """A message field that must be there."""
        if not request.HasField(field):
            self.add(path, "REQUIRED", "must be set")


def group_name(value: str) -> str:
    """The group that a request means: empty means `default`."""
    return value or DEFAULT_GROUP
