"""A small inference service over HTTP: what Primacy looks after in a local cluster.

    POST /predict   {"inputs": [four numbers]} -> the share of each label, computed from the model file
    POST /notes     a line of text, kept if its epoch (`Primacy-Epoch`) is not fenced off; 409 if it is
    GET  /notes     the lines, with the epoch of each
    GET  /healthz   200, or 503 when the model file is not valid
    GET  /metrics   requests, errors, seconds, utilisation, capacity and what is in flight, as Prometheus text

Every answer has the header `Primacy-Region`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11
from primacy_agent.fencing import FencingError, MissingEpoch, StaleEpoch
from primacy_wire.daemon import FolderError, StateFolder, follow_parent, write_file

from primacy_cli.demo.accelerator import Accelerator, Overloaded
from primacy_cli.demo.model import ModelError, ModelFile, make_model
from primacy_cli.demo.notes import Notes

PROGRAM = "primacy-demo-service"
IDLE_S = 60.0
READ_BYTES = 16_384
BODY_BYTES_MAX = 64 * 1024
METHODS = {"/predict": (b"POST",), "/notes": (b"GET", b"POST"), "/healthz": (b"GET",), "/metrics": (b"GET",)}


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


def _json(code: int, /, **content: Any) -> Answer:
    return Answer(code, json.dumps(content).encode() + b"\n")


class Service:
    """The answers; knows nothing of sockets."""

    def __init__(self, region: str, model: ModelFile, capacity: float, notes: Notes) -> None:
        self._region = region
        self._model = model
        self._notes = notes
        self._accelerator = Accelerator(capacity)
        self._requests = 0
        self._errors = 0
        self._seconds = 0.0

    async def answer(self, method: bytes, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Answer one request, with the region's name on it."""
        wanted = METHODS.get(path)
        if wanted is None:
            answer = _json(404, error=f"no page {path}: there are {', '.join(METHODS)}")
        elif method not in wanted:
            allowed = ", ".join(one.decode() for one in wanted)
            answer = _json(405, error=f"{path} takes {allowed}")
            answer.headers["Allow"] = allowed
        elif path == "/notes":
            answer = self._note(body, headers) if method == b"POST" else _json(200, notes=self._notes.all())
        elif path == "/predict":
            answer = await self._counted(body)
        else:
            answer = self._healthz() if path == "/healthz" else self._metrics()
        answer.headers["Primacy-Region"] = self._region
        return answer

    def _note(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            text = body.decode()
            epoch = self._notes.add(text, headers)
        except UnicodeDecodeError:
            return _json(400, error="send a line of UTF-8 text")
        except MissingEpoch as error:
            return _json(400, error=str(error))
        except StaleEpoch as error:
            return _json(409, error=str(error), epoch=error.epoch, highest=error.highest)
        except (FencingError, OSError) as error:
            return _json(503, error=str(error))
        return _json(200, epoch=epoch)

    async def _counted(self, body: bytes) -> Answer:
        begun = time.monotonic()
        answer = await self._predict(body)
        self._requests += 1
        self._errors += answer.status >= 500
        self._seconds += time.monotonic() - begun
        return answer

    async def _predict(self, body: bytes) -> Answer:
        try:
            model = self._model.load()
        except ModelError as error:
            return _json(503, error=str(error))
        try:
            inputs = _inputs(body, model.inputs)
        except ValueError as error:
            return _json(400, error=str(error))
        try:
            async with self._accelerator.slot():
                shares = model.predict(inputs)
        except Overloaded:
            answer = _json(503, error="too many requests are waiting")
            answer.headers["Retry-After"] = "1"
            return answer
        label = max(shares, key=lambda each: shares[each])
        return _json(
            200, label=label, shares=shares, model=model.digest, version=self._model.version, region=self._region
        )

    def _healthz(self) -> Answer:
        try:
            return _json(200, status="ok", model=self._model.load().digest, version=self._model.version)
        except ModelError as error:
            return _json(503, status="failing", reason=str(error))

    def _metrics(self) -> Answer:
        rows = (
            ("demo_requests_total", "counter", "Predictions asked for.", self._requests),
            ("demo_request_errors_total", "counter", "Predictions that failed here.", self._errors),
            ("demo_request_seconds_sum", "counter", "Time that predictions took.", self._seconds),
            ("demo_request_seconds_count", "counter", "Predictions that were timed.", self._requests),
            ("demo_utilisation", "gauge", "Share of the slots in use, with those in line.", self._utilisation()),
            ("demo_capacity", "gauge", "Predictions per second that can be served.", self._accelerator.capacity),
            ("demo_in_flight", "gauge", "Predictions at work and in line.", self._accelerator.in_flight),
        )
        lines = [
            f"# HELP {name} {text}\n# TYPE {name} {kind}\n{name} {value:.10g}\n" for name, kind, text, value in rows
        ]
        return Answer(200, "".join(lines).encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _utilisation(self) -> float:
        return round(self._accelerator.utilisation, 6)


def _inputs(body: bytes, count: int) -> tuple[float, ...]:
    """The numbers of a request. Raises ValueError for people."""
    advice = f'send {{"inputs": [{count} finite numbers]}}'
    try:
        found = json.loads(body)["inputs"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(advice) from error
    if not isinstance(found, list) or len(found) != count:
        raise ValueError(advice)
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in found):
        raise ValueError(advice)
    try:
        numbers = tuple(float(value) for value in found)
    except OverflowError as error:
        raise ValueError(advice) from error
    if not all(math.isfinite(number) and abs(number) <= 1e9 for number in numbers):
        raise ValueError(advice)
    return numbers


def _headers(request: h11.Request) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}


class Connection:
    """Speaks HTTP/1.1 with one client."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._service = service
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except (ConnectionError, TimeoutError, h11.RemoteProtocolError):
            pass  # The other side is gone, idle, or does not speak HTTP: there is nobody to tell.
        finally:
            self._writer.transport.abort()

    async def _serve_one(self) -> bool:
        """Answer one request; False when the connection is done."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    if self._http.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(status_code=100, headers=[])
                        self._writer.write(self._http.send(go_on) or b"")
                    async with asyncio.timeout(IDLE_S):
                        self._http.receive_data(await self._reader.read(READ_BYTES))
                case h11.Request():
                    request = event
                case h11.Data():
                    body += event.data
                    if len(body) > BODY_BYTES_MAX:
                        answer = _json(413, error=f"at most {BODY_BYTES_MAX} bytes")
                        await self._send(answer)
                        return False
                case h11.EndOfMessage() if request is not None:
                    path = request.target.split(b"?", 1)[0].decode("ascii", errors="replace")
                    await self._send(await self._service.answer(request.method, path, bytes(body), _headers(request)))
                    return self._http.our_state is not h11.MUST_CLOSE
                case _:
                    return False

    async def _send(self, answer: Answer) -> None:
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(answer.body))),
            *answer.headers.items(),
        ]
        events = (
            h11.Response(status_code=answer.status, headers=headers),
            h11.Data(data=answer.body),
            h11.EndOfMessage(),
        )
        self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
        await self._writer.drain()


async def _run(service: Service, address: str, shared: str) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        await Connection(service, reader, writer).serve()

    servers = []
    for place in (address, shared):
        if place:
            host, _, port = place.rpartition(":")
            # Instances that share a port: the kernel deals connections out to those that live.
            servers.append(await asyncio.start_server(connected, host, int(port), reuse_port=place == shared))
    print(f"serving on {address}", flush=True)
    await stopping.wait()
    for server in servers:
        server.close()
    for task in connections:
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 stopped as told, 1 cannot run, 2 wrong usage."""
    follow_parent()
    parser = argparse.ArgumentParser(prog=PROGRAM, description="A small inference service.")
    parser.add_argument("--region", required=True, metavar="NAME", help="what its answers say where they come from")
    parser.add_argument("--address", required=True, metavar="HOST:PORT", help="where to serve")
    parser.add_argument(
        "--shared", default="", metavar="HOST:PORT", help="where to serve as well, with other instances"
    )
    parser.add_argument("--state-dir", required=True, type=Path, metavar="DIR", help="folder of its pid file")
    parser.add_argument("--model", required=True, type=Path, metavar="FILE", help="model file; made if there is none")
    parser.add_argument(
        "--current",
        type=Path,
        metavar="DIR",
        help="where a replicated model is current; served instead once it is there",
    )
    parser.add_argument("--capacity", type=float, default=100.0, metavar="N", help="predictions per second")
    arguments = parser.parse_args(argv)
    for flag in ("address", "shared"):
        host, _, port = getattr(arguments, flag).rpartition(":")
        if getattr(arguments, flag) and not (host and port.isdigit()):
            parser.error(f"--{flag}: must be HOST:PORT")
    if not (math.isfinite(arguments.capacity) and arguments.capacity > 0):
        parser.error("--capacity: must be a finite number above 0")
    try:
        with StateFolder(arguments.state_dir, PROGRAM):
            if not arguments.model.exists():
                write_file(arguments.model, make_model())  # Whole at once: another instance may be reading it.
            model = ModelFile(arguments.model, arguments.current)
            service = Service(arguments.region, model, arguments.capacity, Notes(arguments.state_dir))
            asyncio.run(_run(service, arguments.address, arguments.shared))
    except (FolderError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
