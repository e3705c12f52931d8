"""What was measured, asked of a real coordinator: while it runs, after a kill, and with a file that cannot be used."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from primacy.v1 import status_service_pb2 as pb
from primacy.v1.status_service_pb2_grpc import StatusServiceStub
from primacy_wire.errors import PrimacyError
from primacy_wire.log_messages import MetricsSnapshot
from primacy_wire.messages import Load
from primacy_wire.rpc_errors import from_rpc_error
from primacy_wire.sketch import Sketch

import grpc
from tests.integration.coordinators import CoordinatorProcess, PlayedAgent, until

pytestmark = pytest.mark.integration
