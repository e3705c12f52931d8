"""Failures as gRPC statuses with details, and statuses as failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.rpc import code_pb2, error_details_pb2, status_pb2

from primacy_wire.errors import (
    AlreadyExists,
    BadField,
    Denied,
    Exhausted,
    InvalidRequest,
    NotFound,
    PrimacyError,
    Refused,
    Stale,
    Unavailable,
)
from primacy_wire.instant import SECOND_NS

ERROR_DOMAIN = "primacy"
_DETAILS_KEY = "grpc-status-details-bin"

CODES: dict[type[PrimacyError], int] = {
    InvalidRequest: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    AlreadyExists: code_pb2.ALREADY_EXISTS,
    Refused: code_pb2.FAILED_PRECONDITION,
    Stale: code_pb2.ABORTED,
    Denied: code_pb2.PERMISSION_DENIED,
    Unavailable: code_pb2.UNAVAILABLE,
    Exhausted: code_pb2.RESOURCE_EXHAUSTED,
}
"""Every leaf of the tree has a row, so nothing ends as UNKNOWN."""


def to_status(error: PrimacyError) -> status_pb2.Status:
    """The status that a caller gets for this failure."""
    status = status_pb2.Status(code=CODES[type(error)], message=error.message)
    if isinstance(error, InvalidRequest):
        bad = error_details_pb2.BadRequest()
        for each in error.fields:
            bad.field_violations.add(field=each.path, description=each.advice, reason=each.reason)
        status.details.add().Pack(bad)
    else:
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=dict(error.metadata))
        status.details.add().Pack(info)
    if isinstance(error, Unavailable | Exhausted):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(error.retry_delay_ns)
        status.details.add().Pack(retry)
    return status


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """A failed call, readable: what the server said, with its details unpacked."""

    code: str
    """Name of the gRPC code: `NOT_FOUND`."""
    message: str
    reason: str = ""
    """Of the ErrorInfo: a rule, or `REGION_NOT_FOUND`."""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[BadField, ...] = ()
    """Of the BadRequest."""
    retry_delay_ns: int | None = None

    @property
    def retry_delay_seconds(self) -> float | None:
        return None if self.retry_delay_ns is None else self.retry_delay_ns / SECOND_NS


def from_rpc_error(error: Any) -> RpcFailure:
    """Read a `grpc.RpcError` of a finished call, synchronous or not."""
    code = error.code().name
    message = error.details() or ""
    reason, metadata, retry_delay_ns = "", {}, None
    fields: list[BadField] = []
    for detail in _details(error):
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            fields += [BadField(each.field, each.description, each.reason) for each in bad.field_violations]
        elif detail.Unpack(retry):
            retry_delay_ns = retry.retry_delay.ToNanoseconds()
    return RpcFailure(code, message, reason, metadata, tuple(fields), retry_delay_ns)


def _details(error: Any) -> list[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            return list(status_pb2.Status.FromString(value).details)
    return []
