"""The agent is light: a program that runs beside every instance loads nothing that only the coordinator needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("sqlite_utils", "starlette", "uvicorn", "click", "rich", "primacy_coordinator", "primacy_cli")


@pytest.mark.parametrize("module", ["primacy_agent.main", "primacy_agent.serve"])
def test_the_agent_loads_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
