"""Envoy's messages are there, and of nobody else's making."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from primacy_agent.dataplane.xds.descriptors import message, pool
from primacy_wire.server import ListenError


def test_a_message_of_the_pool_keeps_what_is_put_in() -> None:
    assignment = message("envoy.config.endpoint.v3.ClusterLoadAssignment")(cluster_name="default")
    group = assignment.endpoints.add(locality={"region": "us-east"}, load_balancing_weight={"value": 7000})
    group.lb_endpoints.add().endpoint.address.socket_address.port_value = 80
    again = type(assignment).FromString(assignment.SerializeToString())
    assert again == assignment
    assert again.endpoints[0].load_balancing_weight.value == 7000


def test_only_what_is_needed_is_in_the_pool() -> None:
    with pytest.raises(KeyError):
        pool().FindMessageTypeByName("envoy.config.bootstrap.v3.Bootstrap")


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="install primacy again"):
        pool(tmp_path / "descriptors.binpb")


def test_no_module_of_envoys_is_loaded() -> None:
    script = (
        "import sys\n"
        "from primacy_agent.dataplane.xds.descriptors import message\n"
        "message('envoy.config.cluster.v3.Cluster')()\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('envoy', 'xds', 'udpa')])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
