"""What holds for all tests."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Whoever starts the tests in the background of a script has them ignore it, and so would every program they start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something of the machine, not of the code.
settings.register_profile("primacy", deadline=None)
settings.load_profile("primacy")

TOGETHER = {
    "tests/e2e/": "they run `primacy up` with its own choice of ports",
    "tests/simulation/test_simulation.py": "what fired is counted over all schedules",
}
"""Tests that must be in one process when several run tests, and why."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each test is given to whoever is free next, but those that must be together, and those that share servers."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            alone = module if module.startswith("tests/integration/") else nodeid
            return next((start for start in TOGETHER if nodeid.startswith(start)), alone)

    return Together(config, log)
