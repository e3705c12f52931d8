"""How the weights are handed to data planes, as a message."""

from __future__ import annotations

from primacy.agent.v1 import local_service_pb2 as pb

from primacy_agent.dataplane.outputs import Outputs, SubscriptionView, XdsClientView


def render_outputs(outputs: Outputs) -> pb.DataPlaneStatus:
    """Every way that is switched on, and who follows."""
    return pb.DataPlaneStatus(
        outputs=[
            pb.DataPlaneOutput(name=output.name, address=output.address, version=output.version, trouble=output.trouble)
            for output in outputs.all
        ],
        xds_clients=[_client(client) for client in outputs.clients()],
    )


def _client(view: XdsClientView) -> pb.XdsClient:
    shown = pb.XdsClient(
        node=view.node,
        user_agent=view.user_agent,
        peer=view.peer,
        incremental=view.incremental,
        subscriptions=[_subscription(one) for one in view.subscriptions],
    )
    shown.connected.FromNanoseconds(view.connected_ns)
    return shown


def _subscription(view: SubscriptionView) -> pb.XdsSubscription:
    return pb.XdsSubscription(
        type_url=view.type_url,
        resources=view.resources,
        unknown=view.unknown,
        sent_version=view.sent_version,
        acked_version=view.acked_version,
        rejection=view.rejection,
        acks=view.acks,
        nacks=view.nacks,
    )
