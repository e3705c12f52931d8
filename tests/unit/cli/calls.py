"""Runs a command against a faked channel: the test answers each call by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

import grpc
import grpc_testing
from click.testing import CliRunner, Result
from google.rpc import error_details_pb2, status_pb2
from primacy.agent.v1 import local_service_pb2
from primacy.v1 import (
    election_service_pb2,
    group_service_pb2,
    policy_service_pb2,
    region_service_pb2,
    replication_service_pb2,
    routing_service_pb2,
    status_service_pb2,
)
from primacy_cli.main import cli

FILES = (
    election_service_pb2,
    group_service_pb2,
    local_service_pb2,
    policy_service_pb2,
    region_service_pb2,
    replication_service_pb2,
    routing_service_pb2,
    status_service_pb2,
)
SERVICES = {service.full_name: service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()}
SECONDS_MAX = 20


class Run:
    """One run of `primacy`, in a thread, so that the test can play the server."""

    def __init__(self, *words: str, stdin: bytes = b"") -> None:
        self._channel = grpc_testing.channel(tuple(SERVICES.values()), grpc_testing.strict_real_time())
        self.addresses: list[str] = []
        self._words = words
        self._stdin = stdin

    def __enter__(self) -> Run:
        self._result: Future[Result] = Future()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def _run(self) -> None:
        self._result.set_result(
            CliRunner().invoke(cli, self._words, self._stdin, obj=self._connect, prog_name="primacy")
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._thread.join()

    def _connect(self, address: str) -> grpc.Channel:
        self.addresses.append(address)
        found = self._channel
        assert isinstance(found, grpc.Channel)
        return found

    def answer(self, method: str, response: Any) -> Any:
        """Wait for a call of `Service/Method`, answer it, and return its request."""
        call, request = self._take(method)
        call.terminate(response, (), grpc.StatusCode.OK, "")
        return request

    def fail(self, method: str, code: grpc.StatusCode, message: str, details: Sequence[Any] = ()) -> Any:
        """Wait for a call and fail it, with these error details."""
        call, request = self._take(method)
        call.terminate(None, _trailer(code, message, details), code, message)
        return request

    def stream(self, method: str, responses: Sequence[Any]) -> Any:
        """Wait for a call, send it these responses, end it well, and return its request."""
        call, request = self._take(method, self._channel.take_unary_stream)
        for response in responses:
            call.send_response(response)
        # Well, for the fake throws away what was not read yet when a call fails.
        call.terminate((), grpc.StatusCode.OK, "")
        return request

    def answer_until_end(self, method: str, response: Any) -> None:
        """Answer each call with this, until the command has ended."""

        def take() -> None:
            while True:  # Its last wait is for a call that never comes.
                call, _ = self._take_now(method)
                call.terminate(response, (), grpc.StatusCode.OK, "")

        threading.Thread(target=take, daemon=True).start()
        self._result.exception(SECONDS_MAX)

    def fail_stream(self, method: str, code: grpc.StatusCode, message: str, details: Sequence[Any] = ()) -> Any:
        """Wait for a call of a stream and fail it before it sent anything, with these error details."""
        call, request = self._take(method, self._channel.take_unary_stream)
        call.terminate(_trailer(code, message, details), code, message)
        return request

    def answer_end(self, method: str, code: grpc.StatusCode) -> None:
        """Wait for a call of a stream and fail it before it sent anything."""
        call, _ = self._take(method, self._channel.take_unary_stream)
        call.terminate((), code, "")

    def _take(self, method: str, take: Callable[[Any], Any] | None = None) -> tuple[Any, Any]:
        # In a thread that nothing waits for, for the fake waits for ever when the command ends without the call.
        taken: Future[tuple[Any, Any]] = Future()
        threading.Thread(target=lambda: taken.set_result(self._take_now(method, take)), daemon=True).start()
        return taken.result(SECONDS_MAX)

    def _take_now(self, method: str, take: Callable[[Any], Any] | None = None) -> tuple[Any, Any]:
        service, _, name = method.rpartition("/")
        full = service if "." in service else f"primacy.v1.{service}"
        _, request, call = (take or self._channel.take_unary_unary)(SERVICES[full].methods_by_name[name])
        return call, request

    def result(self) -> Result:
        """How the command ended."""
        result = self._result.result(SECONDS_MAX)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result


def _trailer(code: grpc.StatusCode, message: str, details: Sequence[Any]) -> Sequence[Any]:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return (("grpc-status-details-bin", status.SerializeToString()),) if details else ()


def info(reason: str) -> Any:
    return error_details_pb2.ErrorInfo(reason=reason, domain="primacy")


def bad(**fields: str) -> Any:
    """A BadRequest; in the names of fields `__` stands for a dot."""
    request = error_details_pb2.BadRequest()
    for path, advice in fields.items():
        request.field_violations.add(field=path.replace("__", "."), description=advice)
    return request


def run(*words: str) -> Result:
    """A run that asks nobody."""
    with Run(*words) as running:
        return running.result()
