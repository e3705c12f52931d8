"""Runs an agent until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Mapping

from primacy.agent.v1.local_service_pb2_grpc import add_LocalServiceServicer_to_server
from primacy.agent.v1.peer_service_pb2_grpc import add_PeerServiceServicer_to_server
from primacy_wire import json_log
from primacy_wire.daemon import FolderError
from primacy_wire.server import ListenError, add_health_and_reflection, listen, make_server

from primacy_agent.config import AgentConfig, LogFormat, load_config
from primacy_agent.local.answers import Answers
from primacy_agent.local.http import HttpServer
from primacy_agent.local.service import LocalService, PeerService
from primacy_agent.node import Node
from primacy_agent.state import AgentState
from primacy_agent.store import StoreError

logger = logging.getLogger(__name__)

GRACE_S = 0.5
SERVICES = ("primacy.agent.v1.LocalService", "primacy.agent.v1.PeerService")


class CannotRun(Exception):
    """The agent cannot start; the message is one line for people."""


def load_settings(path: str | None, environ: Mapping[str, str], flags: Mapping[str, str | None]) -> AgentConfig:
    return load_config(path, environ, flags)


def run(config: AgentConfig) -> None:
    """Returns when it was told to stop. Raises CannotRun."""
    json_log.setup(config.log.level.value, json_lines=config.log.format is LogFormat.JSON)
    try:
        state = AgentState(config.state_dir, config.group, config.region, config.name)
    except FolderError as error:
        raise CannotRun(str(error)) from error
    try:
        asyncio.run(_serve(config, state))
    except (ListenError, FolderError, StoreError, OSError) as error:
        raise CannotRun(str(error)) from error
    finally:
        state.close()


async def _serve(config: AgentConfig, state: AgentState) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    node = Node(config, state)
    answers = Answers(node)
    server = make_server()
    add_LocalServiceServicer_to_server(LocalService(node, answers), server)
    server.add_generic_rpc_handlers((node.replication.pieces.handler(),))  # Asked before the next one.
    add_PeerServiceServicer_to_server(PeerService(node), server)
    health = await add_health_and_reflection(server, SERVICES)
    listen(server, config.grpc.address, config.server_tls(), config.insecure)
    if config.unix_socket:
        listen(server, f"unix:{config.unix_socket}")
    http = HttpServer(node, answers)
    if config.http.address:
        await http.listen(config.http.address)
    await server.start()
    await health.set_serving(True)
    await node.start()
    logger.info("started", extra={"agent": node.key, "grpc": config.grpc.address, "http": config.http.address})
    ending = asyncio.create_task(stop.wait())
    failing = asyncio.create_task(node.failed())
    try:
        done, _ = await asyncio.wait((ending, failing), return_when=asyncio.FIRST_COMPLETED)
        if failing in done:
            failing.result()
    finally:
        failing.cancel()
        await health.stop()
        await node.stop(config.release_on_stop)
        await http.close()
        await server.stop(GRACE_S)
        with contextlib.suppress(asyncio.CancelledError):
            await failing
