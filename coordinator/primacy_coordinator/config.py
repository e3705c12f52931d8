"""The coordinator's settings: one schema for its file, its environment (`PRIMACY_COORDINATOR_…`) and its flags."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import msgspec
from primacy_wire.durations import Duration
from primacy_wire.http_client import check_url
from primacy_wire.names import NAME_RULE, is_name
from primacy_wire.server import ListenError, ServerTls, check_exposure, split_address
from primacy_wire.settings import ConfigError, load

from primacy_coordinator.sinks.webhook import SecretFault, read_secret

_OTHERS_SINK = re.compile(r"log|(alertmanager|webhook)-?[0-9]*")
"""Names that sinks have by themselves; what each was told is kept by its name."""
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
ENV_PREFIX = "PRIMACY_COORDINATOR"


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    TEXT = "text"
    JSON = "json"


class GrpcConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where agents, the command line and programs connect."""

    address: str = "127.0.0.1:7400"


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where browsers and Prometheus connect. Empty: nowhere."""

    address: str = "127.0.0.1:7480"
    hosts: tuple[str, ...] = ()
    """Names by which browsers find it, such as that of a proxy in front; `localhost` and addresses in figures always
    do."""


class DashboardConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What the HTTP port is good for, beyond looking."""

    actions: bool | None = None
    """Whether drains, failovers and the like may be asked for over HTTP, which knows no users. Not set: from this
    machine alone, and not at all where `tls.clientCa` asks for certificates."""


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.TEXT


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """PEM files."""

    certificate: str
    key: str
    client_ca: str = ""
    """Who signs clients' certificates. Given, a client without one is refused."""


class HistoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    events_kept: Annotated[int, msgspec.Meta(ge=1_000, le=10_000_000)] = 100_000
    """Journal entries of each group that are kept."""


class MinSeverity(Enum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class WebhookConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A program that is told of alerts, each once."""

    url: str
    name: str = ""
    """For people. Empty: `webhook`, with a number where there are several."""
    secret_file: str = ""
    """A file with the secret that messages are signed with, 16 bytes or more. Empty: they are not signed."""
    min_severity: MinSeverity = MinSeverity.WARNING
    cool_down: Duration = Duration.of("5m")
    """An alert that fires again and again is told of at most once in so long."""
    timeout: Duration = Duration.of("5s")


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who is told of alerts."""

    alertmanager: tuple[str, ...] = ()
    """URLs of Alertmanager's instances, without `/api/v2`. Each is told of everything."""
    webhooks: tuple[WebhookConfig, ...] = ()
    external_url: str = ""
    """Where people reach this coordinator's page, for links."""
    log: bool = True
    """A line in the coordinator's log for each alert."""
    ca_file: str = ""
    """Who signs the certificates of https addresses, PEM. Empty: the system's authorities."""


class MetricsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What was measured, in a file of its own beside the journal."""

    minutes_kept: Duration = Duration.of("7d")
    """How long figures of each minute are kept on disk. 6 h to 62 days."""
    hours_kept: Duration = Duration.of("63d")
    """How long figures of each hour are kept on disk. 1 to 400 days."""
    disk_max: Annotated[int, msgspec.Meta(ge=16, le=1_048_576)] = 512
    """The most that the file takes, in MiB; what does not fit goes, the oldest first."""
    memory_max: Annotated[int, msgspec.Meta(ge=32, le=65_536)] = 512
    """The most that figures take in memory, in MiB, all groups together."""


class CoordinatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Everything that a coordinator can be told before it starts."""

    data_dir: Path = Path("primacy-coordinator-data")
    policy: str = ""
    """A policy file for groups that never had a policy; changed and reloaded, it is set for the group `default`."""
    insecure: bool = False
    """Serve without TLS also beyond this machine."""
    grpc: GrpcConfig = GrpcConfig()
    http: HttpConfig = HttpConfig()
    dashboard: DashboardConfig = DashboardConfig()
    log: LogConfig = LogConfig()
    tls: TlsConfig | None = None
    history: HistoryConfig = HistoryConfig()
    alerts: AlertsConfig = AlertsConfig()
    metrics: MetricsConfig = MetricsConfig()
    max_concurrent_failovers: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 3
    """Groups that may fail over at once when their peers do not confirm that the region is gone; 0: any number."""

    def server_tls(self) -> ServerTls | None:
        if self.tls is None:
            return None
        return ServerTls(self.tls.certificate, self.tls.key, self.tls.client_ca)


def load_config(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> CoordinatorConfig:
    """The settings, checked together. Raises `ConfigError` with every problem found."""
    config = load(CoordinatorConfig, path, ENV_PREFIX, environ, flags)
    problems = [
        problem
        for name, address, secured in (
            ("grpc.address", config.grpc.address, config.tls is not None),
            ("http.address", config.http.address, False),
        )
        if (problem := _address_problem(name, address, secured, config.insecure))
    ]
    problems += [
        f"http.hosts: {host!r} is not a host's name: write it without scheme, port and path, e.g. primacy.example.com"
        for host in config.http.hosts
        if not _HOST.fullmatch(host)
    ]
    problems += _alert_problems(config.alerts)
    for name, value, least, most in (
        ("metrics.minutesKept", config.metrics.minutes_kept, "6h", "62d"),
        ("metrics.hoursKept", config.metrics.hours_kept, "1d", "400d"),
    ):
        if not Duration.of(least) <= value <= Duration.of(most):
            problems.append(f"{name}: must be from {least} to {most}")
    if problems:
        raise ConfigError(problems)
    return config


def _alert_problems(alerts: AlertsConfig) -> list[str]:
    """What is wrong with the ways out, files included: they are needed at night."""
    found: list[tuple[str, str]] = []
    for index, url in enumerate(alerts.alertmanager):
        found.append((f"alertmanager[{index}]", check_url(url)))
    names: set[str] = set()
    for index, webhook in enumerate(alerts.webhooks):
        path = f"webhooks[{index}]"
        found.append((f"{path}.url", check_url(webhook.url)))
        if webhook.name:
            fault = "" if is_name(webhook.name) else NAME_RULE
            fault = fault or ("is given twice" if webhook.name in names else "")
            fault = fault or ("is how another sink is called" if _OTHERS_SINK.fullmatch(webhook.name) else "")
            found.append((f"{path}.name", fault))
            names.add(webhook.name)
        if webhook.secret_file:
            found.append((f"{path}.secretFile", _secret_fault(webhook.secret_file)))
        if not Duration.of("100ms") <= webhook.timeout <= Duration.of("60s"):
            found.append((f"{path}.timeout", "must be from 100ms to 60s"))
        if webhook.cool_down > Duration.of("24h"):
            found.append((f"{path}.coolDown", "must be at most 24h"))
    if alerts.external_url:
        found.append(("externalUrl", check_url(alerts.external_url)))
    if alerts.ca_file:
        found.append(("caFile", _authority_fault(alerts.ca_file)))
    return [f"alerts.{path}: {fault}" for path, fault in found if fault]


def _secret_fault(path: str) -> str:
    try:
        read_secret(path)
    except SecretFault as error:
        return str(error)
    return ""


def _authority_fault(path: str) -> str:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # ssl.SSLError is one.
        return f"{path}: {error.strerror or error}"
    return ""


def _address_problem(name: str, address: str, secured: bool, insecure: bool) -> str:
    if not address and name == "http.address":
        return ""
    try:
        if name == "http.address" or not address.startswith("unix:"):
            split_address(address)
        check_exposure(address, secured, insecure)
    except ListenError as error:
        return f"{name}: {error}"
    return ""
