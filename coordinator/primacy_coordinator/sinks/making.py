"""Sinks, made from the coordinator's settings."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from primacy_coordinator.config import AlertsConfig, MinSeverity
from primacy_coordinator.core.severity import Severity
from primacy_coordinator.sinks.alertmanager import Alertmanager
from primacy_coordinator.sinks.log import Log
from primacy_coordinator.sinks.sink import Changed, Sink
from primacy_coordinator.sinks.webhook import Webhook, WebhookOptions

SEVERITIES = {
    MinSeverity.INFO: Severity.INFO,
    MinSeverity.WARNING: Severity.WARNING,
    MinSeverity.CRITICAL: Severity.CRITICAL,
}


def make_sinks(config: AlertsConfig, changed: Changed) -> tuple[Sink, ...]:
    """In the order of the settings, the log last. They begin with `start`."""
    return tuple(_sinks(config, changed))


def _sinks(config: AlertsConfig, changed: Changed) -> Iterator[Sink]:
    secure = [url for url in (*config.alertmanager, *(hook.url for hook in config.webhooks)) if url[:5] == "https"]
    # Loaded once: it takes some milliseconds.
    trusted = ssl.create_default_context(cafile=config.ca_file or None) if secure else None
    for number, url in enumerate(config.alertmanager, 1):
        name = "alertmanager" if len(config.alertmanager) == 1 else f"alertmanager-{number}"
        yield Alertmanager(name, url, config.external_url, trusted)
    for number, hook in enumerate(config.webhooks, 1):
        name = hook.name or ("webhook" if len(config.webhooks) == 1 else f"webhook-{number}")
        options = WebhookOptions(
            hook.url, hook.secret_file, SEVERITIES[hook.min_severity], int(hook.cool_down), hook.timeout.seconds
        )
        yield Webhook(name, options, changed, config.external_url, trusted)
    if config.log:
        yield Log(changed)
