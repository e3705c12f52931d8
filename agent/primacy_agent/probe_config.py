"""The settings of probes: one schema for each kind, so that a key that means nothing to a kind is refused."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from primacy_wire.channel import ClientTls
from primacy_wire.durations import Duration
from primacy_wire.names import NAME_RULE, is_name
from primacy_wire.server import ListenError, split_address
from primacy_wire.yaml_text import Path

from primacy_agent.core.mapping import COUNTERS, KNOWN, Combine, Mapped, Missing, usual_combine
from primacy_agent.core.measuring import MADE_FROM, Condition
from primacy_agent.core.selectors import SelectorError, parse_selector
from primacy_agent.probes.http_get import check_url

SERIES_MAX = 64
"""Of one probe: they travel in every report."""
SHOWN_NAMES = ("requests_per_second", "capacity_requests_per_second")
"""Series that every report may have already."""
OWN_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
OWN_NAME_RULE = "must be up to 64 of a-z, 0-9 and _, beginning with a letter"

Problem = tuple[Path, str]
"""Which setting, and what is wrong with it."""


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    pass


class SeriesConfig(_Settings, frozen=True):
    """Which samples make one number."""

    series: str
    """Name of a series, with conditions on its labels where not all are meant: `requests_total{code=~"5.."}`."""
    scale: float = 1.0
    """What each sample is multiplied by, e.g. 0.001 for milliseconds."""
    combine: Combine | None = None
    """`sum`, `max`, `min` or `mean` of several samples. Default: lags `max`, shares and times `mean`, others `sum`."""
    if_missing: Missing = Missing.FAIL
    """`fail` the look, `skip` the number, or `zero`."""
    rate: bool = False
    """Under a name of your own: the series counts up, and its growth per second is wanted."""


class ConditionConfig(_Settings, frozen=True):
    """When what was measured speaks for the instance; strictly between the bounds that are given."""

    series: str
    """A reading of this probe: `request_rate`, `error_rate`, `latency_seconds`, a gauge, or a name of your own."""
    below: float | None = None
    above: float | None = None

    def condition(self) -> Condition:
        return Condition(self.series, self.below, self.above)


class ProbeTls(_Settings, frozen=True):
    """PEM files; none of them is needed where the server's certificate comes from a public authority."""

    ca: str = ""
    certificate: str = ""
    key: str = ""
    server_name: str = ""

    def client_tls(self) -> ClientTls:
        return ClientTls(self.ca, self.certificate, self.key, self.server_name)


class ProbeConfig(_Settings, frozen=True, kw_only=True, tag_field="kind", tag=""):
    """What probes of every kind have."""

    name: str
    instance: str = ""
    """Probes of one instance are healthy together. Empty: the agent's only one."""
    interval: Duration = Duration.of("1s")
    timeout: Duration = Duration.of("500ms")
    rise: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    fall: Annotated[int, msgspec.Meta(ge=1, le=100)] = 2
    jitter: Annotated[float, msgspec.Meta(ge=0, le=0.5)] = 0.1
    """Share of the interval that each pause is shortened by at random, so that probes do not march in step."""
    smoke: bool = False
    """It runs only in a recovery: an instance that was down counts as up when it has passed once."""
    advisory: bool | None = None
    """It is shown, and its readings count, but it says nothing against its instance."""

    @property
    def kind(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def target(self) -> str:
        """What it looks at, for people."""
        raise NotImplementedError

    @property
    def is_advisory(self) -> bool:
        return bool(self.advisory)

    def faults(self) -> Iterator[Problem]:
        """What is wrong with the settings of this kind, by key within the probe."""
        raise NotImplementedError


class HttpProbe(ProbeConfig, frozen=True, kw_only=True, tag="http"):
    """A GET; 200 to 399 is good."""

    url: str

    @property
    def target(self) -> str:
        return self.url

    def faults(self) -> Iterator[Problem]:
        if trouble := check_url(self.url):
            yield ("url",), trouble


class TcpProbe(ProbeConfig, frozen=True, kw_only=True, tag="tcp"):
    """A connection that is taken is good."""

    address: str
    """`host:port`."""

    @property
    def target(self) -> str:
        return self.address

    def faults(self) -> Iterator[Problem]:
        if trouble := check_target(self.address):
            yield ("address",), trouble


class GrpcProbe(ProbeConfig, frozen=True, kw_only=True, tag="grpc"):
    """`grpc.health.v1.Health/Check`; SERVING is good."""

    address: str
    """`host:port`."""
    service: str = ""
    """The service to ask for. Empty: the server as a whole."""
    tls: ProbeTls | None = None
    """Without it: plain text. `tls: {}`: TLS with the public authorities."""

    @property
    def target(self) -> str:
        return f"{self.address}/{self.service}" if self.service else self.address

    def faults(self) -> Iterator[Problem]:
        if trouble := check_target(self.address):
            yield ("address",), trouble
        if self.tls is not None and bool(self.tls.certificate) != bool(self.tls.key):
            yield ("tls",), "certificate and key belong together: give both, or none"


class ProcessProbe(ProbeConfig, frozen=True, kw_only=True, tag="process"):
    """A process lives; its death is known at once."""

    pid_file: str = ""
    """A file with the pid, alone or in the JSON that Primacy's own programs write."""
    listen: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """The process that listens on this port."""
    command: str = ""
    """The process whose command line contains this text."""

    @property
    def target(self) -> str:
        return self.pid_file or (f"port {self.listen}" if self.listen else self.command)

    def faults(self) -> Iterator[Problem]:
        if sum(map(bool, (self.pid_file, self.listen, self.command))) != 1:
            yield (), "a process probe needs one of pidFile, listen and command"


class _Measuring(ProbeConfig, frozen=True, kw_only=True):
    series: dict[str, str | SeriesConfig] = {}
    """What to read: one of the known names, or a name of your own -> a series of the page."""
    healthy_when: ConditionConfig | None = None

    @property
    def condition(self) -> Condition | None:
        return self.healthy_when.condition() if self.healthy_when else None

    def mapped(self) -> tuple[Mapped, ...]:
        """What it reads. Raises SelectorError unless the settings were checked."""
        return tuple(_mapped(key, wanted) for key, wanted in self.series.items())

    def faults(self) -> Iterator[Problem]:
        if len(self.series) > SERIES_MAX:
            yield ("series",), f"at most {SERIES_MAX} series for one probe"
        for key, wanted in self.series.items():
            yield from _series_faults(key, wanted)
        for one, other in (("errors", "requests"), ("seconds_sum", "seconds_count"), ("seconds_count", "seconds_sum")):
            if one in self.series and other not in self.series:
                yield ("series", one), f"means nothing without {other}: map that, too"
        for reading, parts in MADE_FROM.items():
            if reading in self.series and set(parts) <= set(self.series):
                yield ("series", reading), f"is already made of {' and '.join(parts)}: map one or the other"
        if self.healthy_when is not None:
            yield from _condition_faults(self.healthy_when, self.series)


class ExecProbe(_Measuring, frozen=True, kw_only=True, tag="exec"):
    """A program; exit code 0 is good. With `series`, what it prints on stdout is read as a metrics page."""

    argv: list[str]

    @property
    def target(self) -> str:
        return " ".join(self.argv)

    def faults(self) -> Iterator[Problem]:
        if not self.argv or not self.argv[0]:
            yield ("argv",), 'must name a program and its arguments, e.g. ["/usr/local/bin/check", "--fast"]'
        if any("\0" in word for word in self.argv):
            yield ("argv",), "must have no NUL character"
        yield from super().faults()


class PrometheusProbe(_Measuring, frozen=True, kw_only=True, tag="prometheus"):
    """A metrics page that can be read, with all that is asked of it. Without `healthyWhen` it is advisory."""

    url: str

    @property
    def target(self) -> str:
        return self.url

    @property
    def is_advisory(self) -> bool:
        return self.healthy_when is None if self.advisory is None else self.advisory

    def faults(self) -> Iterator[Problem]:
        if trouble := check_url(self.url):
            yield ("url",), trouble
        if not self.series:
            yield ("series",), f"must map at least one of {', '.join(KNOWN)}, or a name of your own"
        yield from super().faults()


AnyProbe = HttpProbe | TcpProbe | GrpcProbe | ProcessProbe | ExecProbe | PrometheusProbe


def check_target(address: str) -> str:
    """What is wrong with an address that somebody shall connect to, or nothing."""
    try:
        _, port = split_address(address)
    except ListenError as error:
        return str(error)
    return "" if port else f"{address!r}: nobody can connect to port 0"


def probe_problems(probes: Sequence[ProbeConfig]) -> Iterator[Problem]:
    """What is wrong with probes, each alone and all together."""
    names = [probe.name for probe in probes]
    watched = {probe.instance for probe in probes if not probe.smoke and not probe.is_advisory}
    for index, probe in enumerate(probes):
        where: Path = ("probes", index)
        if not is_name(probe.name):
            yield (*where, "name"), f"{probe.name!r}: {NAME_RULE}"
        if names.count(probe.name) > 1:
            yield (*where, "name"), f"{probe.name!r} is used twice"
        if probe.interval <= 0 or probe.timeout <= 0:
            yield where, "interval and timeout must be longer than 0"
        if probe.smoke and probe.advisory:
            yield (*where, "smoke"), "a smoke probe decides whether its instance is back: it cannot be advisory"
        elif probe.smoke and probe.instance not in watched:
            which = f"instance {probe.instance!r}" if probe.instance else "the agent's instance"
            yield (*where, "smoke"), f"a smoke probe runs beside others: {which} has no probe that watches it always"
        for key, trouble in probe.faults():
            yield (*where, *key), trouble


# ---- series


def _series_of(wanted: str | SeriesConfig) -> SeriesConfig:
    return SeriesConfig(series=wanted) if isinstance(wanted, str) else wanted


def _mapped(key: str, given: str | SeriesConfig) -> Mapped:
    wanted = _series_of(given)
    return Mapped(
        key,
        parse_selector(wanted.series),
        wanted.scale,
        wanted.combine or usual_combine(key),
        wanted.if_missing,
        counter=key in COUNTERS or wanted.rate,
    )


def _series_faults(key: str, given: str | SeriesConfig) -> Iterator[Problem]:
    where = ("series", key)
    wanted = _series_of(given)
    if key not in KNOWN:
        if OWN_NAME.fullmatch(key) is None:
            known = ", ".join(KNOWN)
            yield where, f"must be one of {known}, or a name of your own, which {OWN_NAME_RULE}"
        elif near := difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.9):
            yield where, f"did you mean {near[0]}? A name of your own must be less like it"
        elif key in SHOWN_NAMES:
            yield where, "is the name of a series that the agent makes itself: choose another"
    elif wanted.rate:
        why = "counts up anyway" if key in COUNTERS else "is taken as it is"
        yield (*where, "rate"), f"is for names of your own: {key} {why}"
    try:
        parse_selector(wanted.series)
    except SelectorError as error:
        yield where, str(error)
    if not (math.isfinite(wanted.scale) and wanted.scale > 0):
        yield (*where, "scale"), "must be a finite number above 0"


def _condition_faults(condition: ConditionConfig, series: dict[str, str | SeriesConfig]) -> Iterator[Problem]:
    where = ("healthyWhen",)
    made = [name for name, parts in MADE_FROM.items() if set(parts) <= set(series)]
    readings = [*made, *(key for key in series if key not in COUNTERS)]
    if condition.series not in readings:
        there = f"there are {', '.join(readings)}" if readings else "it reads none"
        yield (*where, "series"), f"{condition.series!r} is no reading of this probe: {there}"
    for key in MADE_FROM.get(condition.series, ()) if condition.series in made else (condition.series,):
        if key in series and _series_of(series[key]).if_missing is Missing.SKIP:
            yield ("series", key), "cannot be skipped: healthyWhen asks for it"
    bounds = [each for each in (condition.below, condition.above) if each is not None]
    if not bounds or not all(map(math.isfinite, bounds)):
        yield where, "needs `below` or `above`, or both: finite numbers"
    elif len(bounds) == 2 and bounds[0] <= bounds[1]:
        yield where, "nothing is both: `above` must be less than `below`"
