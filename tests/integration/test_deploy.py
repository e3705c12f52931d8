"""What stands in `deploy/` for systemd and Kubernetes: read by systemd itself, and taken by the programs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
UNITS = ("primacy-coordinator.service", "primacy-agent.service")
MANIFESTS = ("coordinator.yaml", "agent.yaml")


def commands(unit: str) -> list[list[str]]:
    """Programs of Primacy that the unit runs, with their arguments."""
    lines = (DEPLOY / "systemd" / unit).read_text().splitlines()
    found = [shlex.split(line.partition("=")[2]) for line in lines if line.startswith("Exec")]
    return [words for words in found if words[0].startswith("/opt/primacy/")]


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_understands_the_units(unit: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        why = "systemd-analyze is missing: apt-get install systemd"
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(why)
        pytest.skip(why)
    text = (DEPLOY / "systemd" / unit).read_text().replace("/opt/primacy/bin", str(BIN))
    (tmp_path / unit).write_text(text.replace("User=primacy", "User=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, check=False
    )
    mine = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    assert not mine, mine


@pytest.mark.parametrize("unit", UNITS)
def test_programs_know_the_flags_of_the_units(unit: str) -> None:
    found = commands(unit)
    assert found
    for words in found:
        usage = subprocess.run([BIN / Path(words[0]).name, "--help"], capture_output=True, text=True, check=True).stdout
        assert all(word in usage for word in words[1:] if word.startswith("--")), words


def image_files() -> list[str]:
    """What `.dockerignore` lets into the build."""
    lines = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_the_build_of_the_image_has_everything_that_it_reads() -> None:
    """Packages, build hook, README, the dashboard's sources and the protos; what the build makes itself stays out."""
    with (DEPLOY.parent / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    parts = {package.partition("/")[0] for package in packages} | {"dashboard"}
    assert set(image_files()) == parts | {"pyproject.toml", "hatch_build.py", project["project"]["readme"]}
    assert all((DEPLOY.parent / name).exists() for name in image_files())


def test_the_image_is_the_one_that_the_manifests_run() -> None:
    text = (DEPLOY.parent / "Dockerfile").read_text()
    (image,) = re.findall(r"docker build -t (\S+) \.", text)
    (user,) = re.findall(r"^USER (\d+):\d+$", text, re.MULTILINE)
    with (DEPLOY.parent / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert image.endswith(f"/primacy:{version}")
    for manifest in MANIFESTS:
        (pod,) = [one["spec"]["template"]["spec"] for one in documents(manifest) if one["kind"] == "StatefulSet"]
        ours = [each for each in pod["containers"] if each.get("command", [""])[0].startswith("primacy-")]
        assert [each["image"] for each in ours] == [image]
        assert str(pod["securityContext"]["runAsUser"]) == user


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_kubernetes_sets_no_variables_that_the_programs_take_for_settings(manifest: str) -> None:
    """A Service of the program's name would: PRIMACY_COORDINATOR_PORT is none of the settings, so it is refused."""
    (pod,) = [one["spec"]["template"]["spec"] for one in documents(manifest) if one["kind"] == "StatefulSet"]
    assert pod["enableServiceLinks"] is False


def documents(manifest: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / manifest).read_text()))


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_manifests_hold_together(manifest: str) -> None:
    """What is mounted is there, what is referred to has that name, and what selects selects something."""
    found = {(one["kind"], one["metadata"]["name"]): one for one in documents(manifest)}
    (stateful,) = [one for (kind, _), one in found.items() if kind == "StatefulSet"]
    pod = stateful["spec"]["template"]
    assert pod["metadata"]["labels"] == stateful["spec"]["selector"]["matchLabels"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    for volume in volumes.values():
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in found
    ports: set[str] = set()
    for container in pod["spec"]["containers"]:
        assert {mount["name"] for mount in container.get("volumeMounts", [])} <= {*volumes, *claims}
        ports |= {port["name"] for port in container["ports"]}
        if "readinessProbe" in container:
            assert container["readinessProbe"]["httpGet"]["port"] in ports
        assert "cpu" not in container.get("resources", {}).get("limits", {}), "throttled, it could not renew a lease"
    for (kind, _), one in found.items():
        if kind == "Service":
            assert one["spec"]["selector"] == pod["metadata"]["labels"]
            assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports


@pytest.mark.parametrize(("manifest", "more"), [("coordinator.yaml", ()), ("agent.yaml", ("--name", "service-0"))])
def test_programs_take_the_settings_of_the_manifests(manifest: str, more: tuple[str, ...], tmp_path: Path) -> None:
    (data,) = [one["data"] for one in documents(manifest) if one["kind"] == "ConfigMap"]
    for name, text in data.items():
        (tmp_path / name).write_text(text.replace("/etc/primacy/", f"{tmp_path}/"))
    program = BIN / f"primacy-{manifest.removesuffix('.yaml')}"
    environment = {**os.environ, "PRIMACY_AGENT_ADVERTISE": "10.0.0.7:7410"}
    done = subprocess.run(
        [program, "--config", str(tmp_path / manifest), "--check", *more],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
