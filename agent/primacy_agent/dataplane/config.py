"""Settings of everything that hands weights on."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from enum import Enum

import msgspec
from primacy_wire.durations import Duration
from primacy_wire.server import ListenError, check_exposure, split_address

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


def dataplane_problems(config: DataplaneConfig, insecure: bool) -> Iterator[Problem]:
    """Everything that is wrong with the settings together."""
    for key, address in (("xds", config.xds.address), ("haproxy", config.haproxy.address)):
        if not address or (key == "xds" and address.startswith(UNIX) and len(address) > len(UNIX)):
            continue
        try:
            split_address(address)
            check_exposure(address, secured=False, insecure=insecure)
        except ListenError as error:
            yield ("dataplane", key, "address"), str(error)
