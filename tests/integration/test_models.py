"""Models on real processes: pushed in one region, verified and current in all, whatever dies on the way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from primacy.agent.v1 import local_service_pb2 as pb
from primacy.v1 import replication_pb2, replication_service_pb2
from primacy_wire.rpc_errors import from_rpc_error

from tests.integration.clusters import AgentProcess, Cluster, until

pytestmark = pytest.mark.integration

DRAW = random.Random(5)
FIRST = DRAW.randbytes(6_000_000)
SECOND = FIRST[:2_000_000] + DRAW.randbytes(60_000) + FIRST[2_000_000:]
HOOK = """#!/bin/sh
echo "$PRIMACY_MODEL $PRIMACY_VERSION $PRIMACY_REGION $(cat "$PRIMACY_PATH/$PRIMACY_VERSION/weights.bin" | wc -c)" \
>>{folder}/$PRIMACY_REGION.applied
[ ! -e {folder}/$PRIMACY_REGION.refuse ] || {{ echo "the server refuses it"; exit 3; }}
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    running: list[Cluster] = []

    def start(**replication: object) -> Cluster:
        cluster = Cluster(tmp_path / "group", replication=replication)
        cluster.__enter__()
        running.append(cluster)
        return cluster

    (tmp_path / "group").mkdir()
    yield start
    for cluster in running:
        cluster.__exit__()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(FIRST)
    (folder / "config.pbtxt").write_text('name: "bert"\n')
    return folder


def publish(agent: AgentProcess, path: Path, name: str = "bert", **more: object) -> pb.PublishResponse:
    request = pb.PublishRequest(name=name, path=str(path), **more)  # type: ignore[arg-type]
    *stages, last = agent.local.Publish(request, timeout=60)
    assert last.stage == "done"
    assert {stage.stage for stage in stages} <= {"reading", "appending"}
    return last


def manage(agent: AgentProcess, **action: object) -> pb.ManageModelResponse:
    return agent.local.ManageModel(pb.ManageModelRequest(**action), timeout=60)  # type: ignore[arg-type]


def current(agent: AgentProcess, name: str = "bert") -> bytes:
    """The weights that a server would load now."""
    link = agent.state / "models" / name / "current"
    version = link.resolve().name
    return (link / version / "weights.bin").read_bytes()


def shown(agent: AgentProcess, name: str = "bert") -> pb.Model:
    (found,) = agent.local.ListModels(pb.ListModelsRequest(name=name), timeout=5).models
    return found


def all_have(cluster: Cluster, content: bytes, seconds: float = 30) -> None:
    for agent in cluster.agents:
        until(lambda agent=agent: current(agent) == content, f"{agent.name} has it", seconds)


def test_a_version_is_current_everywhere_and_its_hook_is_told(
    make: Callable[..., Cluster], model: Path, tmp_path: Path
) -> None:
    hook = tmp_path / "on_apply"
    hook.write_text(HOOK.format(folder=tmp_path))
    hook.chmod(0o755)
    cluster = make(onApply=[str(hook)], keepVersions=2)
    ap, eu, us = cluster.agents
    first = publish(us, model, message="from the lab")
    assert first.appended.version == 1
    all_have(cluster, FIRST)
    assert (us.state / "models/bert/current/config.pbtxt").read_text() == 'name: "bert"\n'
    until(lambda: (tmp_path / "eu-west.applied").read_text() == f"bert 1 eu-west {len(FIRST)}\n", "the hook in eu")
    again = publish(us, model, id="once")
    assert publish(us, model, id="once").appended == again.appended
    assert again.bytes_new == 0
    # A changed version moves only what changed, and an open file stays what it was.
    until(lambda: shown(eu).current == again.appended.version, "eu follows")
    with (eu.state / "models/bert/current/2/weights.bin").open("rb") as held:
        (model / "weights.bin").write_bytes(SECOND)
        second = publish(eu, model)
        assert 0 < second.bytes_new < 700_000
        all_have(cluster, SECOND)
        assert held.read() == FIRST
    # Old versions go, pinned ones stay.
    manage(ap, name="bert", pin=3)
    until(lambda: [one.version for one in shown(ap).versions if one.path] == [3, 2], "the oldest is uninstalled")
    third = manage(us, name="bert", rollback=1).appended
    all_have(cluster, FIRST)
    publish(us, model)
    publish(us, model)
    until(lambda: [one.version for one in shown(ap).versions if one.path] == [6, 5, 3], "the pinned one stays")
    assert third.version == 4
    # A hook that fails is tried again; what it printed is the reason.
    (tmp_path / "eu-west.refuse").touch()
    (model / "weights.bin").write_bytes(FIRST[:1000])
    last = publish(us, model)
    until(lambda: current(ap) == FIRST[:1000], "ap has it")
    count = len((tmp_path / "eu-west.applied").read_text().splitlines())
    until(lambda: len((tmp_path / "eu-west.applied").read_text().splitlines()) > count + 1, "it is tried again", 60)
    (tmp_path / "eu-west.refuse").unlink()
    eu.local.WaitApplied(pb.WaitAppliedRequest(sequence=last.appended.sequence), timeout=60)
    removed = manage(us, name="bert", remove=True)
    for agent in cluster.agents:
        agent.local.WaitApplied(pb.WaitAppliedRequest(sequence=removed.appended.sequence), timeout=30)
        assert not (agent.state / "models/bert/current").exists()


def test_the_origin_may_die_once_another_region_has_it(make: Callable[..., Cluster], model: Path) -> None:
    cluster = make()
    ap, eu, us = cluster.agents
    ap.kill()
    publish(us, model, durability=replication_pb2.DURABILITY_REGIONS)
    us.kill()
    ap.start()
    until(lambda: current(ap) == FIRST, "ap got it from eu", 40)
    until(lambda: current(eu) == FIRST, "eu has it")
    us.start()
    until(lambda: current(us) == FIRST, "us has it")


def test_a_fetch_goes_on_after_a_kill(make: Callable[..., Cluster], model: Path) -> None:
    cluster = make(bandwidth=1_000_000)
    _, eu, us = cluster.agents
    # By default the answer waits until another region has it, and there would be nothing left to cut off.
    publish(us, model, durability=replication_pb2.DURABILITY_LOCAL)

    def here() -> int:
        versions = shown(eu).versions
        return versions[0].bytes_here if versions else 0

    def on_its_way() -> bool:
        """As the coordinator tells it, by what eu reports."""
        request = replication_service_pb2.GetReplicationStatusRequest()
        regions = cluster.replication.GetReplicationStatus(request, timeout=5).regions
        return any(
            (one.agent, one.key, one.size) == (eu.name, "bert", shown(eu).versions[0].size)
            and 0 < one.received < one.size
            for region in regions
            for one in region.transfers
        )

    until(on_its_way, "the coordinator shows what comes to eu")
    for part in (1_000_000, 2_500_000, 4_000_000):
        until(lambda part=part: here() >= part, f"{part} bytes at eu", 40)
        eu.kill()
        eu.start()
    # What had come was not fetched again: at this speed all of it anew would take longer.
    until(lambda: current(eu) == FIRST, "eu has it", 40)
    status = until(lambda: eu.local.GetStatus(pb.GetStatusRequest(), timeout=5).replication, "eu is up")
    assert (status.queued, list(status.parked)) == (0, [])
    assert status.received >= status.settled >= 1
    until(lambda: not on_its_way(), "nothing is under way any more")


def test_what_was_damaged_is_mended_from_others(make: Callable[..., Cluster], model: Path) -> None:
    cluster = make()
    _, eu, us = cluster.agents
    publish(us, model)
    all_have(cluster, FIRST)
    place = (eu.state / "models/bert/current").resolve() / "1" / "weights.bin"
    place.chmod(0o644)
    with place.open("r+b") as file:
        file.seek(3_000_000)
        file.write(b"salt")
    *_, last = (answers := list(eu.local.VerifyModels(pb.VerifyModelsRequest(), timeout=60)))
    assert [one for answer in answers for one in answer.damaged] == ["bert/1/weights.bin"]
    assert last.done
    assert current(eu) == FIRST
    again = list(eu.local.VerifyModels(pb.VerifyModelsRequest(name="bert"), timeout=60))
    assert not [one for answer in again for one in answer.damaged]


def test_what_cannot_be_pushed_is_said(make: Callable[..., Cluster], tmp_path: Path, model: Path) -> None:
    cluster = make()
    us = cluster.agents[2]
    (tmp_path / "empty").mkdir()
    for path, name, code in (
        ("relative", "bert", "INVALID_ARGUMENT"),
        (str(tmp_path / "nothing"), "bert", "NOT_FOUND"),
        (str(tmp_path / "empty"), "bert", "INVALID_ARGUMENT"),
        (str(model), "../bert", "INVALID_ARGUMENT"),
    ):
        with pytest.raises(grpc.RpcError) as error:
            list(us.local.Publish(pb.PublishRequest(name=name, path=path), timeout=20))
        assert from_rpc_error(error.value).code == code, path
    with pytest.raises(grpc.RpcError) as error:
        manage(us, name="bert", rollback=3)
    assert from_rpc_error(error.value).code == "NOT_FOUND"
    publish(us, model)
    with pytest.raises(grpc.RpcError) as error:
        publish(us, model, if_version=7)
    assert from_rpc_error(error.value).reason == "VERSION_MISMATCH"
