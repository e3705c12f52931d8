"""Decides what two writes of one document have left open, as an operator would: the one that came second wins."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import grpc
from primacy.v1 import replication_pb2
from primacy.v1.replication_service_pb2 import ListConflictsRequest, ResolveConflictRequest
from primacy.v1.replication_service_pb2_grpc import ReplicationServiceStub
from primacy_wire.channel import make_sync_channel
from primacy_wire.daemon import follow_parent

ANSWER_S_MAX = 5.0


def _decide(channel: grpc.Channel, key: str, owner: str) -> list[str]:
    """Names of the conflicts. Raises RpcError."""
    stub = ReplicationServiceStub(channel)
    request = ListConflictsRequest(state=replication_pb2.CONFLICT_STATE_OPEN, key=key)
    found = [one.id for one in stub.ListConflicts(request, timeout=ANSWER_S_MAX).conflicts]
    for one in found:
        decided = ResolveConflictRequest(id=one, owner=owner, reason="a demonstration", take_incoming=True)
        stub.ResolveConflict(decided, timeout=ANSWER_S_MAX)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 nothing is open any more, 1 it could not be decided, 2 wrong usage."""
    follow_parent()
    parser = argparse.ArgumentParser(description="Decide the open conflicts of one document.")
    parser.add_argument("--address", required=True, metavar="HOST:PORT")
    parser.add_argument("--key", required=True)
    parser.add_argument("--owner", required=True)
    arguments = parser.parse_args(argv)
    try:
        with make_sync_channel(arguments.address) as channel:
            found = _decide(channel, arguments.key, arguments.owner)
    except grpc.RpcError as error:
        print(f"conflicts of {arguments.key}: {error}", file=sys.stderr)
        return 1
    print(f"decided: {', '.join(found) or 'nothing was open'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
