"""Is the coordinator somewhere that does not die together with the region that it has to replace?"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

from primacy.v1.status_service_pb2 import GetStatusResponse

from primacy_cli.checkup.checks import Check, warn, well

MAIN_REGIONS = 2


def placement(status: GetStatusResponse, address: str) -> Iterator[Check]:
    """`address` is where this coordinator answers."""
    host = status.coordinator.host or _host_of(address)
    main = main_regions(status)
    beside = sorted(
        {
            region.name
            for region in status.regions
            if region.name in main
            for agent in region.agents
            if agent.host == host
        }
    )
    if not host:
        yield warn("placement", f"the coordinator at {address} does not say on which machine it runs", "look there")
    elif beside:
        yield warn(
            "placement",
            f"the coordinator runs on {host}, beside agents of {' and '.join(beside)}: it is lost with them, and"
            " nothing takes over then",
            "run it at a third place",
        )
    else:
        yield well("placement", f"the coordinator runs on {host}, away from {' and '.join(sorted(main)) or 'agents'}")


def main_regions(status: GetStatusResponse) -> set[str]:
    """The active region, and those that are preferred."""
    ranked = sorted(status.regions, key=lambda region: (not region.active, -region.priority, region.name))
    return {region.name for region in ranked[:MAIN_REGIONS]}


def _host_of(address: str) -> str:
    """This machine's name when the address is on it, else nothing."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = host == socket.gethostname()
    return socket.gethostname() if here or address.startswith("unix:") else ""
