"""Puts the coordinator together and runs it: store, groups, gRPC, HTTP, signals."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from primacy_wire import json_log
from primacy_wire.collector import calm_collector
from primacy_wire.daemon import FolderError, StateFolder
from primacy_wire.errors import InvalidRequest
from primacy_wire.instant import SECOND_NS
from primacy_wire.policy_file import place_of, policy_from_text
from primacy_wire.server import ListenError, add_health_and_reflection, listen, make_server
from primacy_wire.settings import ConfigError

from primacy_coordinator.config import CoordinatorConfig, LogFormat, load_config
from primacy_coordinator.core.model import Policy
from primacy_coordinator.rpc.fields import Fields
from primacy_coordinator.rpc.policies import parse_policy
from primacy_coordinator.services import SERVICES, Services
from primacy_coordinator.shell.alerting import Alerting
from primacy_coordinator.shell.coordinator import Coordinator
from primacy_coordinator.shell.failures import ShellError
from primacy_coordinator.shell.monitoring import Monitoring
from primacy_coordinator.sinks.making import make_sinks
from primacy_coordinator.store.api import StoreError
from primacy_coordinator.store.history import SqliteHistory
from primacy_coordinator.store.metrics import Kept, SqliteMetrics
from primacy_coordinator.store.sqlite import SqliteStore
from primacy_coordinator.web.app import Web
from primacy_coordinator.web.guard import Guard
from primacy_coordinator.web.server import WebServer, bind_http

logger = logging.getLogger(__name__)

STORE_FILE = "store.db"
JOURNAL_FILE = "journal.db"
METRICS_FILE = "metrics.db"
STOP_SECONDS_MAX = 0.5
"""How long calls in flight may take once the coordinator stops. Sessions are sent away at once."""


class CannotRun(Exception):
    """Something outside prevents the coordinator from running; one line that names it and the fix."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the coordinator was told, and how to read it again."""

    config: CoordinatorConfig
    policy: Policy | None
    reload: Callable[[], Settings]


def load_settings(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> Settings:
    """Settings and policy file, checked. Raises `ConfigError` with every problem found."""
    config = load_config(path, environ, flags)
    policy = read_policy(config.policy) if config.policy else None
    return Settings(config, policy, lambda: load_settings(path, environ, flags))


def read_policy(path: str) -> Policy:
    """The policy in a file. Raises `ConfigError`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError([f"{path}: {reason}"]) from error
    try:
        return parse_policy(Fields(), "", policy_from_text(text, path))
    except InvalidRequest as error:
        named = [(field.path.lstrip("."), field.advice) for field in error.fields]
        raise ConfigError([f"{place_of(text, path, where)}: {where}: {advice}" for where, advice in named]) from error


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises `CannotRun`."""
    config = settings.config
    json_log.setup(config.log.level.value, config.log.format is LogFormat.JSON)
    # Its lines at INFO say nothing that ours do not, and those at WARNING tell of each odd request that anybody sends.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        with StateFolder(config.data_dir, "primacy-coordinator"):
            asyncio.run(_serve(settings))
    except (FolderError, StoreError, ListenError, ShellError) as error:
        raise CannotRun(str(error)) from error


async def _serve(settings: Settings) -> None:
    config = settings.config
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        # This start is noted in the store before anybody is listened to.
        store = await SqliteStore.open(config.data_dir / STORE_FILE)
        stack.push_async_callback(store.close)
        history = SqliteHistory(config.data_dir / JOURNAL_FILE, config.history.events_kept)
        stack.push_async_callback(history.close)
        metrics = SqliteMetrics(config.data_dir / METRICS_FILE, _kept(config))
        stack.push_async_callback(metrics.close)
        coordinator = Coordinator(store, history, config.max_concurrent_failovers)
        monitoring = Monitoring(
            coordinator, metrics, config.metrics.memory_max << 20, config.metrics.minutes_kept // SECOND_NS
        )
        alerting = Alerting(coordinator, metrics)
        stack.push_async_callback(alerting.close)
        monitoring.evaluation = alerting
        stack.push_async_callback(monitoring.close)
        server = make_server()
        port = listen(server, config.grpc.address, config.server_tls(), config.insecure)
        grpc_address = _with_port(config.grpc.address, port)
        build = version("primacy")
        services = Services.of(coordinator, monitoring, alerting, build)
        services.add_to(server)
        health = await add_health_and_reflection(server, SERVICES)
        web: Web | None = None
        web_server: WebServer | None = None
        http_address = ""
        if config.http.address:
            bound = bind_http(config.http.address)
            stack.callback(bound.close)
            http_address = _with_port(config.http.address, bound.getsockname()[1])
            web = Web(services.backend(coordinator, build, grpc_address), _guard(config, http_address))
            web_server = WebServer(web.app, bound)
        await coordinator.start(settings.policy)
        alerting.start(make_sinks(config.alerts, alerting.told))
        monitoring.start()
        calm_collector()
        await server.start()
        await health.set_serving(True)
        serving = asyncio.create_task(web_server.serve()) if web_server is not None else None
        if serving is not None:
            serving.add_done_callback(_say_why)
        reloader = _Reloader(settings, coordinator)
        loop.add_signal_handler(signal.SIGHUP, reloader.ask)
        logger.info(
            "the coordinator serves",
            extra={"grpc": grpc_address, "http": http_address, "data_dir": str(config.data_dir), "version": build},
        )
        await stop.wait()
        logger.info("the coordinator stops")
        if web is not None:
            web.streams.close("the coordinator stops")
        await health.stop()
        await coordinator.close()
        if web_server is not None and serving is not None:
            web_server.stop()
            await asyncio.wait([serving])
        await server.stop(STOP_SECONDS_MAX)


def _guard(config: CoordinatorConfig, http_address: str) -> Guard:
    certified = config.tls is not None and bool(config.tls.client_ca)
    return Guard(http_address, config.http.hosts, config.dashboard.actions, certified)


def _kept(config: CoordinatorConfig) -> Kept:
    metrics = config.metrics
    return Kept(metrics.minutes_kept // SECOND_NS, metrics.hours_kept // SECOND_NS, metrics.disk_max << 20)


def _say_why(serving: asyncio.Task[None]) -> None:
    """Authority does not hang on the HTTP port, but its end must not go unseen."""
    error = None if serving.cancelled() else serving.exception()
    if error is not None:
        logger.error("the HTTP port is served no more", exc_info=error)


def _with_port(address: str, port: int) -> str:
    """The address with the port that was really bound, when any was asked for."""
    return f"{address.rpartition(':')[0]}:{port}" if address.endswith(":0") else address


class _Reloader:
    """On SIGHUP reads the settings again, and does what is safe while running."""

    def __init__(self, settings: Settings, coordinator: Coordinator) -> None:
        self._settings = settings
        self._coordinator = coordinator
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        old = self._settings
        try:
            new = await asyncio.to_thread(old.reload)
        except ConfigError as error:
            logger.error("the settings stay as they are: %s", "; ".join(error.problems))  # noqa: TRY400
            return
        log = new.config.log
        json_log.setup(log.level.value, log.format is LogFormat.JSON)
        fixed = [
            name
            for name in ("data_dir", "insecure", "grpc", "http", "dashboard", "tls", "history", "alerts", "metrics")
            if getattr(new.config, name) != getattr(old.config, name)
        ]
        if fixed:
            logger.warning("changed settings that need a restart: %s", ", ".join(fixed))
        if new.policy is not None and new.policy != old.policy:
            try:
                await self._coordinator.set_policy(new.policy)
            except ShellError as error:
                logger.error("the policy stays as it is: %s", error)  # noqa: TRY400
                return
            logger.info("the policy of the group default was set from %s", new.config.policy)
        self._settings = new
        logger.info("the settings were read again")
