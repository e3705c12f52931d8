"""The coordinator's settings: one schema for its file, its environment (`PRIMACY_COORDINATOR_…`) and its flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import msgspec
from primacy_wire.server import ListenError, ServerTls, check_exposure, split_address
from primacy_wire.settings import ConfigError, load

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
    machine alone."""


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
    if problems:
        raise ConfigError(problems)
    return config


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
