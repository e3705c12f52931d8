"""What the machine and its shell refuse, as the failures that callers learn about."""

from __future__ import annotations

from primacy_wire.errors import (
    AlreadyExists,
    BadField,
    Exhausted,
    InvalidRequest,
    NotFound,
    PrimacyError,
    Refused,
    Stale,
    Unavailable,
)
from primacy_wire.instant import MILLISECOND_NS

from primacy_coordinator.core.effects import CloseReason, CloseSession, Refusal, RefusalKind
from primacy_coordinator.shell.failures import CommandRefused, GroupGone, Overloaded, ShellError, StoreTrouble

REFUSALS: dict[RefusalKind, type[PrimacyError]] = {
    RefusalKind.INVALID: InvalidRequest,
    RefusalKind.NOT_FOUND: NotFound,
    RefusalKind.ALREADY_EXISTS: AlreadyExists,
    RefusalKind.PRECONDITION: Refused,
    RefusalKind.STALE: Stale,
    RefusalKind.UNAVAILABLE: Unavailable,
}
CLOSES: dict[CloseReason, type[PrimacyError]] = {
    CloseReason.SUPERSEDED: AlreadyExists,
    CloseReason.REFUSED: Refused,
    CloseReason.DEAF: Unavailable,
    CloseReason.RECONNECTED: Unavailable,
    CloseReason.DEREGISTERED: NotFound,
}
"""How a session ends. An agent gives up for good on ALREADY_EXISTS alone."""

RETRY_DELAY = "retry_delay_ns"
"""Metadata with which the machine says when to come again."""
RETRY_NS_DEFAULT = 500 * MILLISECOND_NS


def to_error(refusal: Refusal) -> PrimacyError:
    """The failure that a caller gets for what the machine refused."""
    if refusal.kind is RefusalKind.INVALID and refusal.fields:
        return InvalidRequest(*(BadField(path, advice, refusal.rule) for path, advice in refusal.fields))
    return _error(REFUSALS[refusal.kind], refusal.rule, refusal.message, dict(refusal.metadata))


def close_error(close: CloseSession) -> PrimacyError:
    """The failure that an agent gets when its session is ended from here."""
    return _error(CLOSES[close.reason], close.rule, close.message, {})


def shell_error(error: ShellError) -> PrimacyError:
    """The failure that a caller gets when the shell could not even ask the machine, or tell what it said."""
    match error:
        case CommandRefused():
            return to_error(error.refusal)
        case Overloaded():
            return Exhausted(str(error), "OVERLOADED")
        case StoreTrouble():
            return Unavailable(f"the store does not take what must be durable: {error}", "STORE_TROUBLE")
        case GroupGone():
            return Unavailable(str(error), "GROUP_CLOSING")
        case _:
            raise AssertionError(f"no row for {type(error).__name__}")


def _error(kind: type[PrimacyError], rule: str, message: str, metadata: dict[str, str]) -> PrimacyError:
    if issubclass(kind, Unavailable):
        return Unavailable(message, rule, int(metadata.pop(RETRY_DELAY, RETRY_NS_DEFAULT)), metadata)
    if issubclass(kind, InvalidRequest):
        return InvalidRequest(BadField("", message, rule))
    # The machine's own words and rule, not those that a kind and a name would make.
    error = kind.__new__(kind)
    PrimacyError.__init__(error, message, rule, metadata)
    return error
