"""Settings of everything that hands weights on."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from enum import Enum

import msgspec
from primacy_wire.durations import Duration
from primacy_wire.server import ListenError, check_exposure, split_address

from primacy_agent.hook_config import TIMEOUT_NS_MAX, TIMEOUT_NS_MIN, program_problem
from primacy_agent.probe_config import Problem

UNIX = "unix:"


class _Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    pass


class UpstreamProtocol(Enum):
    HTTP1 = "http1"
    HTTP2 = "http2"


class XdsConfig(_Settings, frozen=True):
    """The xDS server, for Envoy and for gRPC clients that use `xds:///`."""

    address: str = ""
    """Where it listens: `host:port` or `unix:PATH`. Empty: nowhere."""
    protocol: UpstreamProtocol = UpstreamProtocol.HTTP1
    """What proxies speak with the regions' services; `http2` for gRPC."""


class HaproxyConfig(_Settings, frozen=True):
    """The answers to HAProxy's agent checks."""

    address: str = ""
    """Where it listens: `host:port`. Empty: nowhere."""


class WeightsFileConfig(_Settings, frozen=True):
    """The weights as a JSON file, and a program that is run when they have changed."""

    path: pathlib.Path = pathlib.Path()
    """The file; it is replaced as a whole. Not given: there is none."""
    on_weights: list[str] = []
    """A program, and its arguments, that is run after the weights changed."""
    hook_timeout: Duration = Duration.of("10s")
    """Then it is killed, and counts as failed."""
    hook_interval: Duration = Duration.of("1s")
    """It is started no more often than this."""

    @property
    def is_wanted(self) -> bool:
        return self.path != pathlib.Path()


class DataplaneConfig(_Settings, frozen=True):
    """How the weights reach proxies and clients. Everything is off until it is given an address or a path."""

    xds: XdsConfig = XdsConfig()
    """The xDS server."""
    haproxy: HaproxyConfig = HaproxyConfig()
    """The answers to HAProxy's agent checks."""
    file: WeightsFileConfig = WeightsFileConfig()
    """The weights as a file."""
    resolve_interval: Duration = Duration.of("30s")
    """How often the names of endpoints are looked up again."""


def dataplane_problems(config: DataplaneConfig, insecure: bool, state_dir: pathlib.Path) -> Iterator[Problem]:
    """Everything that is wrong with the settings together."""
    for key, address in (("xds", config.xds.address), ("haproxy", config.haproxy.address)):
        if not address or (key == "xds" and address.startswith(UNIX) and len(address) > len(UNIX)):
            continue
        try:
            split_address(address)
            check_exposure(address, secured=False, insecure=insecure)
        except ListenError as error:
            yield ("dataplane", key, "address"), str(error)
    yield from _file_problems(config.file, state_dir)


def _file_problems(file: WeightsFileConfig, state_dir: pathlib.Path) -> Iterator[Problem]:
    place = ("dataplane", "file")
    if file.is_wanted and not file.path.is_absolute():
        yield (*place, "path"), f"{str(file.path)!r} is a relative path: must be absolute"
    elif file.path.is_dir() and file.is_wanted:
        yield (*place, "path"), f"{str(file.path)!r} is a folder: must be the file itself"
    elif file.is_wanted and file.path.parent == state_dir.absolute():
        yield (
            (*place, "path"),
            f"{str(file.path)!r} is in stateDir, where the agent keeps its own files: choose another",
        )
    if file.on_weights:
        if not file.is_wanted:
            yield (*place, "onWeights"), "needs dataplane.file.path: it runs when that file has changed"
        if trouble := program_problem(file.on_weights[0]):
            yield (*place, "onWeights"), f"{file.on_weights[0]!r}: {trouble}"
        if any("\0" in word for word in file.on_weights):
            yield (*place, "onWeights"), "must have no NUL character"
    if not TIMEOUT_NS_MIN <= file.hook_timeout <= TIMEOUT_NS_MAX:
        yield (*place, "hookTimeout"), f"must be from {Duration(TIMEOUT_NS_MIN)} to {Duration(TIMEOUT_NS_MAX)}"
    if not 0 <= file.hook_interval <= TIMEOUT_NS_MAX:
        yield (*place, "hookInterval"), f"must be from {Duration(0)} to {Duration(TIMEOUT_NS_MAX)}"
