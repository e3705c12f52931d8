"""Asks a server for its own verdict: `grpc.health.v1.Health/Check`."""

from __future__ import annotations

import time
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from primacy_wire.channel import ClientTls, make_channel

from primacy_agent.core.probing import Look
from primacy_agent.probes.looks import look_tcp
from primacy_agent.probes.messages import one_line


async def look_grpc(address: str, service: str, tls: ClientTls | None, timeout_s: float) -> Look:
    """SERVING is good.

    Each look has a connection of its own, as a new client has; so rotated certificates are read again, too.
    """
    began_ns = time.monotonic_ns()
    try:
        channel = make_channel(address, tls)
    except OSError as error:
        return Look(False, f"the TLS files cannot be read: {error.filename}: {error.strerror}")
    async with channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            latency_ns = time.monotonic_ns() - began_ns
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                # Whether nobody listens, the kernel says more clearly than the words of an error.
                plain = await look_tcp(address, max(0.05, timeout_s - latency_ns / 1e9))
                if plain.certain:
                    return plain
            return Look(False, _explained(error, service, timeout_s), latency_ns=latency_ns)
    good = answer.status == health_pb2.HealthCheckResponse.SERVING
    message = "" if good else f"{_who(service)} says {_status(answer.status)}"
    return Look(good, message, latency_ns=time.monotonic_ns() - began_ns)


def _explained(error: grpc.aio.AioRpcError, service: str, timeout_s: float) -> str:
    match error.code():
        case grpc.StatusCode.UNIMPLEMENTED:
            return "the server does not serve grpc.health.v1.Health: register it there, or use a tcp probe"
        case grpc.StatusCode.NOT_FOUND:
            return f"the server's health service does not know {_who(service)}"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"no answer within {timeout_s:g} s"
        case code:
            return one_line(f"{code.name}: {error.details() or 'no details'}")


def _who(service: str) -> str:
    return f"service {service!r}" if service else "the server"


def _status(number: int) -> str:
    try:
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(number))
    except ValueError:
        return f"status {number}"
