"""Programs that people copy large files with, over loopback: each as a function that copies once, in seconds.

Where a program is not installed there is no such function, and a line says how to get it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.servers import READY_S, free_port

Copy = Callable[[Path], float]
"""To a new file; returns seconds."""


def missing(program: str) -> bool:
    """Whether it is not there; then says so."""
    if shutil.which(program) is not None:
        return False
    print(f"no {program} here, so no figure beside it: apt-get install {program}", file=sys.stderr)
    return True


@contextmanager
def rsync(path: Path, folder: Path) -> Iterator[Copy | None]:
    """Whole files from a daemon, with its own check of what arrived."""
    if missing("rsync"):
        yield None
        return
    port = free_port()
    config = folder / "rsyncd.conf"
    config.write_text(
        f"address = 127.0.0.1\nport = {port}\nuse chroot = no\npid file = {folder}/rsyncd.pid\n"
        + ("uid = 0\ngid = 0\n" if os.getuid() == 0 else "")  # As root it would become nobody, who may read nothing.
        + f"[models]\npath = {path.parent}\nread only = yes\n"
    )
    with _served(["rsync", "--daemon", "--no-detach", f"--config={config}"], port):
        yield lambda target: _timed(
            ["rsync", "--whole-file", f"rsync://127.0.0.1:{port}/models/{path.name}", str(target)], target
        )


@contextmanager
def rclone(path: Path, folder: Path) -> Iterator[Copy | None]:
    """From its own HTTP server."""
    if missing("rclone"):
        yield None
        return
    port = free_port()
    os.environ["RCLONE_CONFIG"] = str(folder / "rclone.conf")
    (folder / "rclone.conf").touch()
    with _served(["rclone", "serve", "http", "--addr", f"127.0.0.1:{port}", str(path.parent)], port):
        yield lambda target: _timed(["rclone", "copyurl", f"http://127.0.0.1:{port}/{path.name}", str(target)], target)


@contextmanager
def _served(command: list[str], port: int) -> Iterator[None]:
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + READY_S
        while not _listens(port):
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError(f"{command[0]} does not listen")
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _timed(command: list[str], target: Path) -> float:
    target.unlink(missing_ok=True)
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began


def delta_bytes(old: bytes, new: bytes, folder: Path) -> int | None:
    """What rsync moves both ways to make one file of the other by its delta algorithm; None: it is not here."""
    if missing("rsync"):
        return None
    mine, theirs = folder / "mine", folder / "theirs"
    for place, content in ((mine, old), (theirs, new)):
        place.mkdir()
        (place / "model.bin").write_bytes(content)
    done = subprocess.run(
        ["rsync", "--no-whole-file", "--checksum", "--stats", f"{theirs}/model.bin", f"{mine}/model.bin"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    if (mine / "model.bin").read_bytes() != new:
        raise RuntimeError("rsync did not make the same file")
    figures = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return sum(int(figures[name].replace(",", "").split()[0]) for name in ("Total bytes sent", "Total bytes received"))
