"""The agent's settings: one schema for its file, its environment (`PRIMACY_AGENT_…`) and its flags."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from enum import Enum
from typing import Annotated

import msgspec
from primacy_wire.channel import ClientTls
from primacy_wire.durations import Duration
from primacy_wire.messages import RegionSpec
from primacy_wire.names import DEFAULT_GROUP, NAME_RULE, is_name
from primacy_wire.server import ListenError, ServerTls, check_exposure, split_address
from primacy_wire.settings import ConfigError, load
from primacy_wire.yaml_text import Document, Path, dotted, parse

from primacy_agent.core.mapping import KNOWN, Missing
from primacy_agent.core.selectors import SelectorError, parse_selector
from primacy_agent.dataplane.addresses import Malformed, parse_endpoint
from primacy_agent.dataplane.config import DataplaneConfig, dataplane_problems
from primacy_agent.hook_config import HooksConfig
from primacy_agent.probe_config import (
    AnyProbe,
    Problem,
    PrometheusProbe,
    SeriesConfig,
    check_target,
    probe_problems,
)
from primacy_agent.probes.http_get import check_url

ENV_PREFIX = "PRIMACY_AGENT"
METRICS_PROBE = "metrics-url"
"""The name of the probe that `metricsUrl` stands for."""
LOAD_NAMES = {
    "requests": "demo_requests_total",
    "errors": "demo_request_errors_total",
    "seconds_sum": "demo_request_seconds_sum",
    "seconds_count": "demo_request_seconds_count",
    "utilisation": "demo_utilisation",
    "capacity": "demo_capacity",
    "in_flight": "demo_in_flight",
}
"""What `metricsUrl` alone reads: the series of the demo service."""


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class LogLevel(Enum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(Enum):
    TEXT = "text"
    JSON = "json"


class ListenConfig(_Settings, frozen=True):
    address: str


class LogConfig(_Settings, frozen=True):
    level: LogLevel = LogLevel.INFO
    """The least that is said."""
    format: LogFormat = LogFormat.TEXT
    """Lines for people, or one JSON object a line."""


class TlsConfig(_Settings, frozen=True):
    """PEM files: the agent serves peers and calls its coordinator with the same identity."""

    certificate: str
    """The agent's certificate, with those between it and the authority."""
    key: str
    """Its private key."""
    ca: str = ""
    """Who signs the coordinator's and the other agents' certificates; given, a peer without one is refused."""
    server_name: str = ""
    """The name to expect in the coordinator's certificate instead of its host."""


class ReplicationConfig(_Settings, frozen=True):
    """Where models and documents go at this agent. Folders that are not given are below `stateDir`."""

    models_dir: pathlib.Path = pathlib.Path()
    """Models, as `NAME/current` and `NAME/releases/VERSION`."""
    configs_dir: pathlib.Path = pathlib.Path()
    """Configuration documents, each as a file of its key's name."""
    store_dir: pathlib.Path = pathlib.Path()
    """The contents of models. On the file system of `modelsDir` nothing is kept twice."""
    bandwidth: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes per second that this agent fetches at most; 0: no limit."""
    upload_bandwidth: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes per second of models that this agent sends to others at most; 0: no limit."""
    on_apply: list[str] = []
    """A program that is run when another version of a model is current."""
    apply_timeout: Duration = Duration.of("60s")
    """Then it is killed, and counts as failed."""
    keep_versions: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 3
    """Of each model, so many of the newest versions stay installed."""

    def below(self, folder: pathlib.Path) -> ReplicationConfig:
        """The same, with every folder named."""
        unset = pathlib.Path()
        return msgspec.structs.replace(
            self,
            models_dir=self.models_dir if self.models_dir != unset else folder / "models",
            configs_dir=self.configs_dir if self.configs_dir != unset else folder / "configs",
            store_dir=self.store_dir if self.store_dir != unset else folder / "store",
        )


class AgentConfig(_Settings, frozen=True):
    """Everything that an agent can be told before it starts."""

    region: str
    """The region that it speaks for."""
    group: str = DEFAULT_GROUP
    """The group that the region belongs to."""
    name: str = "agent-1"
    """Unique in its region."""
    coordinators: list[str] = msgspec.field(default_factory=lambda: ["127.0.0.1:7400"])
    """Where the coordinator is: `HOST:PORT` each."""
    grpc: ListenConfig = ListenConfig("127.0.0.1:7410")
    """Where the own service and other agents call."""
    http: ListenConfig = ListenConfig("127.0.0.1:7490")
    """Where proxies and the own service look. Empty: nowhere."""
    unix_socket: str = ""
    """A second place for the own service."""
    advertise: str = ""
    """Where other agents reach this one, if not at `grpc.address`."""
    state_dir: pathlib.Path = pathlib.Path("primacy-agent-data")
    """What must outlive a restart."""
    release_on_stop: bool = False
    """Give the lease back at a stop, so that another region gets it at once."""
    insecure: bool = False
    """Serve without TLS also beyond this machine."""
    tls: TlsConfig | None = None
    """Needed beyond this machine, unless `insecure`."""
    log: LogConfig = LogConfig()
    """What the agent says to its standard error."""
    latitude: float | None = None
    """Of the region, in degrees."""
    longitude: float | None = None
    """Of the region, in degrees."""
    priority: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] | None = None
    """Of the region in elections: the highest is preferred."""
    capacity: float | None = None
    """What the region can serve: requests per second."""
    endpoint: str = ""
    """Where clients of the region's service go: `host:port`."""
    labels: dict[str, str] = {}
    """Of the region, for people and their tools."""
    probes: list[AnyProbe] = []
    """What the agent looks at to know how its service is."""
    peer_interval: Duration = Duration.of("1s")
    """Time between two looks at another region."""
    peer_timeout: Duration = Duration.of("500ms")
    """So long a look may take."""
    metrics_url: str = ""
    """Short for an advisory `prometheus` probe of this page, from which a series may be missing."""
    metrics_names: dict[str, str] = {}
    """Series of that page, by the names that a `prometheus` probe knows."""
    hooks: HooksConfig = HooksConfig()
    """[Programs](hooks.md) that make the service what the lease says."""
    replication: ReplicationConfig = ReplicationConfig()
    """Where [models](models.md) and [documents](configs.md) go."""
    dataplane: DataplaneConfig = DataplaneConfig()
    """How the weights reach [proxies and clients](dataplane.md)."""

    @property
    def all_probes(self) -> list[AnyProbe]:
        """Every probe, with the one that `metricsUrl` stands for."""
        if not self.metrics_url:
            return self.probes
        names = LOAD_NAMES | self.metrics_names
        series = {key: SeriesConfig(series=name, if_missing=Missing.SKIP) for key, name in names.items() if name}
        page = PrometheusProbe(name=METRICS_PROBE, url=self.metrics_url, series=dict(series), advisory=True)
        return [*self.probes, page]

    @property
    def peer_address(self) -> str:
        return self.advertise or self.grpc.address

    def spec(self) -> RegionSpec:
        return RegionSpec(
            self.latitude,
            self.longitude,
            self.priority,
            self.capacity,
            self.endpoint,
            tuple(sorted(self.labels.items())),
        )

    def server_tls(self) -> ServerTls | None:
        return ServerTls(self.tls.certificate, self.tls.key, self.tls.ca) if self.tls else None

    def client_tls(self) -> ClientTls | None:
        return ClientTls(self.tls.ca, self.tls.certificate, self.tls.key, self.tls.server_name) if self.tls else None


def load_config(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> AgentConfig:
    """The settings, checked together. Raises `ConfigError` with every problem found."""
    config = load(AgentConfig, path, ENV_PREFIX, environ, flags)
    problems = [
        *_names(config),
        *_places(config),
        *_addresses(config),
        *_probes(config),
        *config.hooks.faults(),
        *dataplane_problems(config.dataplane, config.insecure, config.state_dir),
    ]
    if problems:
        document = parse(pathlib.Path(path).read_text(encoding="utf-8"), path) if path else None
        raise ConfigError([_line(document, environ, flags, *problem) for problem in problems])
    return config


def _line(
    document: Document | None, environ: Mapping[str, str], flags: Mapping[str, str | None], key: Path, text: str
) -> str:
    """The problem behind the place where the setting was given, if it was given at all."""
    words = ".".join(str(step) for step in key if isinstance(step, str))
    variables = {name.removeprefix(ENV_PREFIX).replace("_", "").lower(): name for name in environ}
    if flags.get(words) is not None:
        place = "command line: "
    elif name := variables.get(words.replace(".", "").lower()):
        place = f"{name}: "
    elif document is not None and key[:1] in document.lines:
        place = f"{document.place(key)}: "
    else:
        place = ""
    return f"{place}{dotted(key)}: {text}"


def _names(config: AgentConfig) -> list[Problem]:
    given = (("group", config.group), ("region", config.region), ("name", config.name))
    return [((key,), f"{value!r}: {NAME_RULE}") for key, value in given if not is_name(value)]


def _places(config: AgentConfig) -> list[Problem]:
    found: list[Problem] = []
    if (config.latitude is None) != (config.longitude is None):
        given = "longitude" if config.latitude is None else "latitude"
        found.append(((given,), "give both latitude and longitude, or none"))
    for key, value, most in (("latitude", config.latitude, 90), ("longitude", config.longitude, 180)):
        if value is not None and not -most <= value <= most:
            found.append(((key,), f"must be from -{most} to {most}"))
    if config.capacity is not None and not (math.isfinite(config.capacity) and config.capacity >= 0):
        found.append((("capacity",), "must be a finite number of requests per second, 0 or more"))
    return found


def _addresses(config: AgentConfig) -> list[Problem]:
    found: list[Problem] = []
    if not config.coordinators:
        found.append((("coordinators",), "name at least one host:port"))
    own: list[tuple[Path, str, bool]] = [(("grpc", "address"), config.grpc.address, config.tls is not None)]
    if config.http.address:
        own.append((("http", "address"), config.http.address, False))
    for key, address, secured in own:
        try:
            split_address(address)
            check_exposure(address, secured, config.insecure)
        except ListenError as error:
            found.append((key, str(error)))
    others: list[tuple[Path, str]] = [(("coordinators", n), address) for n, address in enumerate(config.coordinators)]
    if config.advertise:
        others.append((("advertise",), config.advertise))
    found += [(key, trouble) for key, address in others if (trouble := check_target(address))]
    if config.endpoint:
        try:
            parse_endpoint(config.endpoint)
        except Malformed as error:
            found.append((("endpoint",), str(error)))
    if config.metrics_url and (trouble := check_url(config.metrics_url)):
        found.append((("metricsUrl",), trouble))
    return found


def _probes(config: AgentConfig) -> list[Problem]:
    found = list(probe_problems(config.probes))
    if config.metrics_url:
        taken = [index for index, probe in enumerate(config.probes) if probe.name == METRICS_PROBE]
        found += [(("probes", index, "name"), "is the name of the probe that metricsUrl stands for") for index in taken]
    for key, name in config.metrics_names.items():
        if key not in KNOWN:
            found.append((("metricsNames", key), f"unknown key: there are {', '.join(KNOWN)}"))
        elif name:
            try:
                parse_selector(name)
            except SelectorError as error:
                found.append((("metricsNames", key), str(error)))
    return found
