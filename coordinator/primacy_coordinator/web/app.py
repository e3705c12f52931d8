"""The coordinator's HTTP port as one application: the dashboard, its API and its stream, health, and metrics."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from primacy_wire.clock import read_now
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from primacy_coordinator.shell.alerting import Alerting
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.failures import GroupGone, StoreTrouble
from primacy_coordinator.shell.monitoring import Monitoring
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.web.alert_metrics import alert_families
from primacy_coordinator.web.answers import Shield, failure
from primacy_coordinator.web.feed import Sources
from primacy_coordinator.web.gateway import HTTP_METHODS, Gateway
from primacy_coordinator.web.guard import Guard
from primacy_coordinator.web.metrics import GroupSample, ProcessSample, render_metrics
from primacy_coordinator.web.monitoring_metrics import monitoring_families
from primacy_coordinator.web.static import PAGE, Asset, load_assets
from primacy_coordinator.web.stream import Streams

PLAIN_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Primacy coordinator</title>
<h1>Primacy coordinator</h1>
<p>Version {version}. The dashboard is not part of this installation. In a checkout, with Node.js at hand, this
builds it; then start the coordinator again:</p>
<pre>python dashboard/bundle.py</pre>
<p>Everything else works: this port serves <a href="/healthz">/healthz</a> and <a href="/metrics">/metrics</a>, and the
API as JSON.</p>
<p>The API is gRPC, at <code>{grpc}</code>. To look at it:</p>
<pre>primacy --address {grpc} status
grpcurl -plaintext {grpc} list</pre>
</html>
"""
NOT_KEPT = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Backend:
    """What stands behind the HTTP port."""

    coordinator: Coordinator
    alerting: Alerting
    monitoring: Monitoring
    servicers: Mapping[str, object]
    """By the full name of their service."""
    sources: Sources
    find: Callable[[str], Runner]
    """The group of that name (empty: `default`). Raises `PrimacyError`."""
    version: str
    grpc_address: str
    """Where the API listens, for people to copy."""


class Web:
    """The application, and its streams, which must be told of the end."""

    def __init__(self, backend: Backend, guard: Guard) -> None:
        about = {"version": backend.version, "grpc": backend.grpc_address}
        self.streams = Streams(backend.find, backend.sources, guard, about)
        self.app = _make_app(backend, guard, self.streams)


def _make_app(backend: Backend, guard: Guard, streams: Streams) -> ASGIApp:
    assets = load_assets()
    plain = PLAIN_PAGE.format(version=html.escape(backend.version), grpc=html.escape(backend.grpc_address))

    async def page(request: Request) -> Response:
        found = assets.get(PAGE)
        return found.answer(request) if found is not None else HTMLResponse(plain, headers=NOT_KEPT)

    async def asset(request: Request) -> Response:
        found: Asset | None = assets.get(request.path_params["name"])
        return found.answer(request) if found is not None else await nothing(request, None)

    async def healthz(_: Request) -> Response:
        """200 when the store is open and every group is loaded, else 503.

        A store that refuses writes is only a warning here: a restart would not mend it, and renewals go on.
        """
        ready = backend.coordinator.ready
        body = {"status": "ok" if ready else "starting", "warnings": backend.coordinator.warnings()}
        return JSONResponse(body, status_code=200 if ready else 503, headers=NOT_KEPT)

    async def metrics(request: Request) -> Response:
        coordinator = backend.coordinator
        sample = ProcessSample(
            version=backend.version,
            stall_count=coordinator.stalls.count,
            stall_longest_ns=coordinator.stalls.longest_ns,
            journal_lost_count=coordinator.history.dropped_count,
            groups=tuple([await _sample(runner) for runner in coordinator.runners()]),
            others=(*alert_families(backend.alerting), *monitoring_families(backend.monitoring)),
        )
        body, content_type = await asyncio.to_thread(render_metrics, sample, request.headers.get("accept", ""))
        return Response(body, headers={**NOT_KEPT, "Content-Type": content_type})

    async def nothing(request: Request, _: Exception | None) -> Response:
        return failure("NOT_FOUND", f"there is no page {request.url.path}", "PAGE_NOT_FOUND")

    gateway = Gateway(backend.servicers, guard)
    routes = [
        Route("/", page),
        Route("/assets/{name}", asset),
        Route("/healthz", healthz),
        Route("/metrics", metrics),
        Route("/api/stream", streams.answer),
        Route("/api/{service}/{method}", gateway.answer, methods=HTTP_METHODS),
    ]
    return Shield(Starlette(routes=routes, exception_handlers={404: nothing}), guard)


async def _sample(runner: Runner) -> GroupSample:
    try:
        view, totals = await runner.read(lambda machine, now: (machine.view(now), machine.routing_totals()))
        own = runner.routes.counts(read_now().mono_ns)
        return GroupSample(runner, view, (*(total.route for total in totals), *own))
    except (StoreTrouble, GroupGone):
        return GroupSample(runner, None)  # Its gauge `primacy_group_up` says so.
