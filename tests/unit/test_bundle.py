"""The dashboard's build: when it is needed, what it says when it cannot be done, and what the packages do then."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import hatch_build
from dashboard import bundle


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with the dashboard's sources and nothing built."""
    for name in bundle.SOURCES:
        source, target = bundle.ROOT / "dashboard" / name, tmp_path / "dashboard" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    return tmp_path


def pretend_built(root: Path) -> None:
    assets = root / bundle.ASSETS
    assets.mkdir(parents=True, exist_ok=True)
    (assets / "index.html").write_text("built")
    (assets / bundle.STAMP).write_text(json.dumps({"sources": bundle.digest(root)}))


def test_a_bundle_is_current_while_its_sources_stay(root: Path) -> None:
    assert not bundle.is_current(root)
    pretend_built(root)
    assert bundle.is_current(root)
    # What a checkout does to times does not matter.
    os.utime(root / "dashboard" / "build.mjs", (0, 2_000_000_000))
    assert bundle.is_current(root)
    (root / "dashboard" / "src" / "new.js").write_text("export {};")
    assert not bundle.is_current(root)
    pretend_built(root)
    (root / bundle.ASSETS / "index.html").unlink()
    assert not bundle.is_current(root)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_broken_stamp_means_building_again(root: Path, text: str) -> None:
    pretend_built(root)
    (root / bundle.ASSETS / bundle.STAMP).write_text(text)
    assert not bundle.is_current(root)


def test_without_node_it_says_what_to_install(root: Path, tmp_path: Path) -> None:
    with pytest.raises(bundle.NoNode, match=r"Node\.js 18 .*PRIMACY_BUILD_DASHBOARD=0"):
        bundle.build(root, {"PATH": str(tmp_path)})


def programs(folder: Path, node: str, npm: str = "exit 0") -> dict[str, str]:
    """An environment with a node and an npm that do this."""
    folder.mkdir()
    for name, text in (("node", node), ("npm", npm)):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize("version", ["v16.20.2", "odd", ""])
def test_a_node_that_is_too_old_is_none(tmp_path: Path, version: str) -> None:
    assert not bundle.has_node(programs(tmp_path / "bin", f"echo {version}"))
    assert bundle.has_node(programs(tmp_path / "new", "echo v20.1.0"))


def test_a_registry_out_of_reach_is_said_with_npms_own_words(root: Path, tmp_path: Path) -> None:
    environ = programs(tmp_path / "bin", "echo v20.1.0", "echo 'npm error network ETIMEDOUT'; exit 1")
    with pytest.raises(bundle.NotBuilt, match=r"(?s)npm ci.*registry.*ETIMEDOUT"):
        bundle.build(root, environ)
    assert not bundle.is_current(root)


def hook(root: Path, kind: str = "wheel") -> Any:
    (root / "dashboard" / "bundle.py").write_text((bundle.ROOT / "dashboard" / "bundle.py").read_text())
    nothing: Any = None
    return hatch_build.CustomBuildHook(str(root), {}, nothing, nothing, "", kind)


def test_only_what_is_given_to_others_must_have_a_dashboard(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(bundle.SWITCH, raising=False)
    made = hook(root)
    data: dict[str, Any] = {"artifacts": []}
    assert made.dependencies() == [bundle.NODE_WHEEL]
    made._bundle_dashboard("editable", data)
    assert data["artifacts"] == [f"{bundle.ASSETS}/*"]
    with pytest.raises(Exception, match=r"Node\.js"):
        made._bundle_dashboard("standard", data)
    monkeypatch.setenv(bundle.SWITCH, "1")
    with pytest.raises(Exception, match=r"Node\.js"):
        made._bundle_dashboard("editable", data)
    monkeypatch.setenv(bundle.SWITCH, "0")
    assert made.dependencies() == []
    made._bundle_dashboard("standard", data)
    monkeypatch.delenv(bundle.SWITCH)
    # From a source distribution, which has the bundle, nothing is needed.
    pretend_built(root)
    assert made.dependencies() == []
    made._bundle_dashboard("standard", data)
