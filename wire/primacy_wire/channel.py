"""Client channels: a frozen or unreachable peer is noticed within seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Of one gRPC message, both ways."""

PING_INTERVAL_MS = 2_000
PING_TIMEOUT_MS = 3_000
"""A peer that answers no ping for so long after `PING_INTERVAL_MS` of silence is gone."""


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files for the client's side of TLS."""

    ca: str
    """Who signs the server's certificate. Empty: the authorities that gRPC brings along."""
    certificate: str = ""
    key: str = ""
    server_name: str = ""
    """The name to expect in the server's certificate instead of the address's host."""

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files. Raises OSError. A channel keeps what it read: after a rotation make a new one."""
        return grpc.ssl_channel_credentials(
            root_certificates=Path(self.ca).read_bytes() if self.ca else None,
            private_key=Path(self.key).read_bytes() if self.key else None,
            certificate_chain=Path(self.certificate).read_bytes() if self.certificate else None,
        )


def ping_options(interval_ms: int = PING_INTERVAL_MS, timeout_ms: int = PING_TIMEOUT_MS) -> list[tuple[str, int]]:
    """Channel arguments for keepalive, for servers and clients alike.

    `grpc.http2.ping_timeout_ms` is the one that counts: gRPC ignores `grpc.keepalive_timeout_ms`, and without it a
    frozen peer goes unseen for a minute.
    """
    return [
        ("grpc.keepalive_time_ms", interval_ms),
        ("grpc.keepalive_timeout_ms", timeout_ms),
        ("grpc.http2.ping_timeout_ms", timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def _options(tls: ClientTls | None) -> list[tuple[str, int | str]]:
    options: list[tuple[str, int | str]] = [
        *ping_options(),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 500),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # Each channel has its own connection, so that a new one really connects anew.
        ("grpc.use_local_subchannel_pool", 1),
        # Authority goes straight to its peer, whatever proxy the environment names for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    if tls and tls.server_name:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def make_channel(address: str, tls: ClientTls | None = None) -> grpc.aio.Channel:
    """An asyncio channel to `host:port` or `unix:PATH`. It connects when first used. Raises OSError for TLS files."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_options(tls))
    return grpc.aio.secure_channel(address, tls.credentials(), options=_options(tls))


def make_sync_channel(address: str, tls: ClientTls | None = None) -> grpc.Channel:
    """The same for callers without an event loop."""
    if tls is None:
        return grpc.insecure_channel(address, options=_options(tls))
    return grpc.secure_channel(address, tls.credentials(), options=_options(tls))
