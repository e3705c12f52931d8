"""Every way a request can fail. Knows nothing of gRPC: `rpc_errors` turns these into statuses and back.

PrimacyError
+-- InvalidRequest   cannot be, whatever the state; lists every bad field   INVALID_ARGUMENT + BadRequest
+-- NotFound         no such thing                                          NOT_FOUND + ErrorInfo
+-- AlreadyExists    there is one already                                   ALREADY_EXISTS + ErrorInfo
+-- Refused          a rule refuses it now                                  FAILED_PRECONDITION + ErrorInfo
+-- Stale            true once, not any more                                ABORTED + ErrorInfo
+-- Denied           not for this caller                                    PERMISSION_DENIED + ErrorInfo
+-- Unavailable      try again later                                        UNAVAILABLE + ErrorInfo + RetryInfo
`-- Exhausted        too much at once; try again later                      RESOURCE_EXHAUSTED + ErrorInfo + RetryInfo
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from primacy_wire.instant import MILLISECOND_NS

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class BadField:
    """One field that prevents a request."""

    path: str
    """As in the request's JSON: `region.location.latitude`."""
    advice: str
    """For people: `must be -90 to 90`."""
    reason: str = "INVALID"
    """A constant for programs."""


class PrimacyError(Exception):
    """A request failed in a way that the caller should learn about. `reason` is a constant for programs."""

    def __init__(self, message: str, reason: str, metadata: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.metadata = metadata


class InvalidRequest(PrimacyError):
    def __init__(self, *fields: BadField) -> None:
        super().__init__("; ".join(f"{field.path}: {field.advice}" for field in fields), "INVALID")
        self.fields = fields


class NotFound(PrimacyError):
    """There is no `kind` (`group`, `region`, `failover`) of that name. `advice` says what to do about it."""

    def __init__(self, kind: str, name: str, advice: str = "") -> None:
        message = f"there is no {kind} {name!r}" + (f": {advice}" if advice else "")
        super().__init__(message, f"{kind.upper()}_NOT_FOUND", {kind: name})


class AlreadyExists(PrimacyError):
    def __init__(self, kind: str, name: str, message: str = "") -> None:
        super().__init__(message or f"there is a {kind} {name!r} already", f"{kind.upper()}_EXISTS", {kind: name})


class Refused(PrimacyError):
    """The rule `reason` refuses it in the present state."""

    def __init__(self, rule: str, message: str, metadata: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(message, rule, metadata)


class Stale(PrimacyError):
    """What the caller saw has changed since: read again, then decide again."""

    def __init__(self, message: str, reason: str = "ETAG_MISMATCH", metadata: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(message, reason, metadata)


class Denied(PrimacyError):
    def __init__(self, message: str, reason: str = "DENIED", metadata: Mapping[str, str] = _NOTHING) -> None:
        super().__init__(message, reason, metadata)


class _TryAgain(PrimacyError):
    def __init__(
        self,
        message: str,
        reason: str,
        retry_delay_ns: int = 500 * MILLISECOND_NS,
        metadata: Mapping[str, str] = _NOTHING,
    ) -> None:
        super().__init__(message, reason, metadata)
        self.retry_delay_ns = retry_delay_ns


class Unavailable(_TryAgain):
    """Not now; the same request may work after `retry_delay_ns`."""


class Exhausted(_TryAgain):
    """More was asked at once than is taken; the same request may work after `retry_delay_ns`."""
