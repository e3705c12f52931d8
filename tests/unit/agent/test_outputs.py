"""What people are shown of the ways in which weights are handed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from primacy_agent.core.traffic import Traffic
from primacy_agent.dataplane.outputs import Outputs, SubscriptionView, XdsClientView
from primacy_agent.local.dataplane import render_outputs
from primacy_wire.instant import SECOND_NS


class Plain:
    """An output that nobody follows."""

    name, address, version, trouble = "file", "/tmp/weights.json", 7, "cannot be written: No space left on device"

    def apply(self, traffic: Traffic) -> None: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class Followed(Plain):
    name, address, trouble = "xds", "127.0.0.1:7420", ""

    def clients(self) -> Sequence[XdsClientView]:
        cds = SubscriptionView("type.googleapis.com/envoy.config.cluster.v3.Cluster", acked_version="7", acks=3)
        eds = SubscriptionView("t/e", ("a", "b"), ("b",), "7", "6", "bad weight", 2, 1)
        return [
            XdsClientView("two", "envoy/1.40", "ipv4:127.0.0.1:2", True, SECOND_NS, (cds, eds)),
            XdsClientView("one", "gRPC Python", "ipv4:127.0.0.1:1", False, 0),
        ]


def test_a_bug_in_one_output_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Plain):
        name = "a"

        def apply(self, traffic: Traffic) -> None:
            raise ZeroDivisionError

    class Taking(Plain):
        name = "b"
        taken: ClassVar[list[Traffic]] = []

        def apply(self, traffic: Traffic) -> None:
            self.taken.append(traffic)

    traffic = Traffic("default", "us", 1, 6, (("us", 1.0),), (("us", 1.0),), (("us", ""),))
    Outputs([Broken(), Taking()]).apply(traffic)
    assert Taking.taken == [traffic]
    assert "could not be handed on" in caplog.text


def test_every_output_and_every_client_is_shown() -> None:
    status = render_outputs(Outputs([Followed(), Plain()]))
    assert [(o.name, o.address, o.version, o.trouble) for o in status.outputs] == [
        ("file", "/tmp/weights.json", 7, "cannot be written: No space left on device"),
        ("xds", "127.0.0.1:7420", 7, ""),
    ]
    assert [(c.node, c.peer, c.incremental) for c in status.xds_clients] == [
        ("one", "ipv4:127.0.0.1:1", False),
        ("two", "ipv4:127.0.0.1:2", True),
    ]
    envoy = status.xds_clients[1]
    assert envoy.connected.ToNanoseconds() == SECOND_NS
    cds, eds = envoy.subscriptions
    assert (cds.acked_version, cds.acks, cds.nacks, list(cds.resources)) == ("7", 3, 0, [])
    assert (list(eds.resources), list(eds.unknown), eds.sent_version, eds.rejection) == (
        ["a", "b"], ["b"], "7", "bad weight",
    )  # fmt: skip
