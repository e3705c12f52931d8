"""The pages of the coordinator's HTTP port."""

from __future__ import annotations

import html

from primacy_wire.clock import read_now
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.failures import GroupGone, StoreTrouble
from primacy_coordinator.shell.runner import Runner
from primacy_coordinator.web.metrics import GroupSample, ProcessSample, render_metrics

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Primacy coordinator</title>
<h1>Primacy coordinator</h1>
<p>Version {version}. This port serves <a href="/healthz">/healthz</a> and <a href="/metrics">/metrics</a>.</p>
<p>The API is gRPC, at <code>{grpc}</code>. To look at it:</p>
<pre>primacy --address {grpc} status
grpcurl -plaintext {grpc} list</pre>
</html>
"""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def make_app(coordinator: Coordinator, version: str, grpc_address: str) -> Starlette:
    """The ASGI application. `grpc_address` is where the API listens, for people to copy."""

    async def page(_: Request) -> Response:
        return HTMLResponse(PAGE.format(version=html.escape(version), grpc=html.escape(grpc_address)), headers=HEADERS)

    async def healthz(_: Request) -> Response:
        """200 when the store is open and every group is loaded, else 503.

        A store that refuses writes is only a warning here: a restart would not mend it, and renewals go on.
        """
        ready = coordinator.ready
        body = {"status": "ok" if ready else "starting", "warnings": coordinator.warnings()}
        return JSONResponse(body, status_code=200 if ready else 503, headers=HEADERS)

    async def metrics(request: Request) -> Response:
        sample = ProcessSample(
            version=version,
            stall_count=coordinator.stalls.count,
            stall_longest_ns=coordinator.stalls.longest_ns,
            journal_lost_count=coordinator.history.dropped_count,
            groups=tuple([await _sample(runner) for runner in coordinator.runners()]),
        )
        body, content_type = render_metrics(sample, request.headers.get("accept", ""))
        return Response(body, headers={**HEADERS, "Content-Type": content_type})

    return Starlette(routes=[Route("/", page), Route("/healthz", healthz), Route("/metrics", metrics)])


async def _sample(runner: Runner) -> GroupSample:
    try:
        view, totals = await runner.read(lambda machine, now: (machine.view(now), machine.routing_totals()))
        own = runner.routes.counts(read_now().mono_ns)
        return GroupSample(runner, view, (*(total.route for total in totals), *own))
    except (StoreTrouble, GroupGone):
        return GroupSample(runner, None)  # Its gauge `primacy_group_up` says so.
