"""A tiny run of the benchmark of weights by xDS."""

from __future__ import annotations

from bench.xds import push_to_ack


def test_both_servers_push_and_are_acked() -> None:
    for row in push_to_ack(pushes=5, rounds=2):
        assert row.value > 0
        assert row.reference_value is not None and row.reference_value > 0
