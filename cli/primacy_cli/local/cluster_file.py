"""`cluster.json`: where everything of a local cluster is, for tests and scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primacy_wire.daemon import write_file

from primacy_cli.local.plan import ClusterPlan, ProcessPlan

NAME = "cluster.json"


def remove(folder: Path) -> None:
    """Remove what an earlier run left. Raises OSError."""
    (folder / NAME).unlink(missing_ok=True)


def write(folder: Path, plan: ClusterPlan, pids: Mapping[str, int]) -> Path:
    """Write the file as a whole; `pids` by title. Raises OSError."""

    def entry(process: ProcessPlan) -> dict[str, Any]:
        addresses = {"grpc": process.grpc, "http": process.http}
        return {
            **{kind: address for kind, address in addresses.items() if address},
            "pid": pids[process.title],
            "command": list(process.command),
            "log": str(process.log),
        }

    def agent(process: ProcessPlan) -> dict[str, Any]:
        folders = {what: str(process.state_dir / what) for what in ("models", "configs")}
        data_plane = {"xds": process.xds, "haproxy": process.haproxy, "weights": str(process.weights)}
        return entry(process) | data_plane | folders

    content: dict[str, Any] = {
        "coordinators": [entry(plan.coordinator)],
        "regions": [
            {
                "name": each.place.name,
                "agents": [agent(process) for process in each.agents],
                "services": [entry(process) for process in each.services],
            }
            for each in plan.regions
        ],
    }
    if plan.traffic is not None:
        content["traffic"] = entry(plan.traffic)
    path = folder / NAME
    write_file(path, json.dumps(content, indent=1).encode() + b"\n")
    return path
