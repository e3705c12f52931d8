"""Every way in which the machine, or its shell, says no ends as a status that helps."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from primacy_coordinator.core.effects import CloseReason, CloseSession, Refusal, RefusalKind
from primacy_coordinator.rpc.refusals import CLOSES, REFUSALS, close_error, shell_error, to_error
from primacy_coordinator.shell.failures import CommandRefused, ShellError
from primacy_wire.errors import Unavailable
from primacy_wire.rpc_errors import CODES, to_status

STATUS_OF_REFUSAL = {
    RefusalKind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    RefusalKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    RefusalKind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    RefusalKind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    RefusalKind.STALE: grpc.StatusCode.ABORTED,
    RefusalKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
STATUS_OF_CLOSE = {
    CloseReason.SUPERSEDED: grpc.StatusCode.ALREADY_EXISTS,
    CloseReason.REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    CloseReason.DEAF: grpc.StatusCode.UNAVAILABLE,
    CloseReason.RECONNECTED: grpc.StatusCode.UNAVAILABLE,
    CloseReason.DEREGISTERED: grpc.StatusCode.NOT_FOUND,
}


def test_the_tables_are_complete() -> None:
    assert set(REFUSALS) == set(RefusalKind) == set(STATUS_OF_REFUSAL)
    assert set(CLOSES) == set(CloseReason) == set(STATUS_OF_CLOSE)
    assert set(REFUSALS.values()) | set(CLOSES.values()) <= set(CODES)


@pytest.mark.parametrize("kind", RefusalKind)
def test_a_refusal_keeps_its_rule_and_its_words(kind: RefusalKind) -> None:
    refusal = Refusal(kind, "SOME_RULE", "in words", metadata=(("region", "eu"),))
    status = to_status(to_error(refusal))
    assert rpc_status.to_status(status).code is STATUS_OF_REFUSAL[kind]
    assert "in words" in status.message
    if kind is not RefusalKind.INVALID:
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (info.reason, dict(info.metadata)) == ("SOME_RULE", {"region": "eu"})


def test_an_invalid_value_names_its_fields() -> None:
    refusal = Refusal(RefusalKind.INVALID, "POLICY", "does not fit", (("leaseTtl", "must be longer"), ("grace", "no")))
    bad = error_details_pb2.BadRequest()
    assert to_status(to_error(refusal)).details[0].Unpack(bad)
    assert [(v.field, v.description) for v in bad.field_violations] == [("leaseTtl", "must be longer"), ("grace", "no")]


def test_the_machine_says_when_to_come_again() -> None:
    refusal = Refusal(RefusalKind.UNAVAILABLE, "RESTART_WAIT", "wait", metadata=(("retry_delay_ns", "1500000000"),))
    error = to_error(refusal)
    assert isinstance(error, Unavailable)
    assert error.retry_delay_ns == 1_500_000_000


@pytest.mark.parametrize("reason", CloseReason)
def test_a_session_ends_with_the_status_of_its_reason(reason: CloseReason) -> None:
    status = to_status(close_error(CloseSession(1, reason, "RULE", "in words")))
    assert rpc_status.to_status(status).code is STATUS_OF_CLOSE[reason]
    assert status.message == "in words"


def test_every_failure_of_the_shell_has_a_status() -> None:
    def leaves(kind: type[ShellError]) -> list[type[ShellError]]:
        return [leaf for below in kind.__subclasses__() for leaf in leaves(below)] or [kind]

    for kind in leaves(ShellError):
        refusal = Refusal(RefusalKind.STALE, "RULE", "words")
        error = CommandRefused(refusal) if kind is CommandRefused else kind("words")
        assert type(shell_error(error)) in CODES
