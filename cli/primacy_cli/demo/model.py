"""A small neural network in a JSON file: two layers, in plain Python.

The file's weights decide the answer. A file that is truncated, or whose shapes do not fit, is refused as a whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INPUTS = 4
HIDDEN = 8
LABELS = ("calm", "busy", "storm")


class ModelError(Exception):
    """The file is no model. The message says what is wrong with it."""


Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Layer:
    weights: Matrix
    """One row for each output, one column for each input."""
    biases: tuple[float, ...]

    def apply(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(
            math.fsum(weight * value for weight, value in zip(row, values, strict=True)) + bias
            for row, bias in zip(self.weights, self.biases, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Model:
    digest: str
    """First 12 hex digits of the file's SHA-256."""
    labels: tuple[str, ...]
    hidden: Layer
    output: Layer

    @property
    def inputs(self) -> int:
        return len(self.hidden.weights[0])

    def predict(self, values: tuple[float, ...]) -> dict[str, float]:
        """The share of each label; they add up to 1."""
        activations = tuple(math.tanh(value) for value in self.hidden.apply(values))
        scores = self.output.apply(activations)
        highest = max(scores)
        exponentials = [math.exp(score - highest) for score in scores]
        total = math.fsum(exponentials)
        return {label: value / total for label, value in zip(self.labels, exponentials, strict=True)}


def parse_model(content: bytes) -> Model:
    """Read a model file. Raises ModelError."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ModelError(f"not JSON, or truncated: {error}") from error
    if not isinstance(found, dict):
        raise ModelError("not a JSON object")
    labels = found.get("labels")
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ModelError("labels: must be a list of texts")
    hidden = _layer("hidden", found.get("hidden"))
    output = _layer("output", found.get("output"))
    if len(output.weights) != len(labels):
        raise ModelError(f"output: has {len(output.weights)} rows for {len(labels)} labels")
    if len(output.weights[0]) != len(hidden.weights):
        raise ModelError(f"output: takes {len(output.weights[0])} values, but hidden gives {len(hidden.weights)}")
    return Model(hashlib.sha256(content).hexdigest()[:12], tuple(labels), hidden, output)


def _layer(name: str, found: Any) -> Layer:
    if not isinstance(found, dict):
        raise ModelError(f"{name}: is missing")
    rows = found.get("weights")
    biases = _numbers(f"{name}.biases", found.get("biases"))
    if not isinstance(rows, list) or len(rows) != len(biases):
        raise ModelError(f"{name}.weights: must have a row for each of the {len(biases)} biases")
    weights = tuple(_numbers(f"{name}.weights[{index}]", row) for index, row in enumerate(rows))
    if len({len(row) for row in weights}) != 1:
        raise ModelError(f"{name}.weights: the rows differ in length")
    return Layer(weights, biases)


def _numbers(name: str, found: Any) -> tuple[float, ...]:
    if not isinstance(found, list) or not found:
        raise ModelError(f"{name}: must be a list of numbers")
    for value in found:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ModelError(f"{name}: {value!r} is not a finite number")
    return tuple(float(value) for value in found)


def make_model(seed: int = 1) -> bytes:
    """The content of a model file; the same seed gives the same bytes."""
    draw = random.Random(seed)

    def layer(outputs: int, inputs: int) -> dict[str, Any]:
        return {
            "weights": [[round(draw.uniform(-1, 1), 6) for _ in range(inputs)] for _ in range(outputs)],
            "biases": [round(draw.uniform(-0.5, 0.5), 6) for _ in range(outputs)],
        }

    content = {"labels": list(LABELS), "hidden": layer(HIDDEN, INPUTS), "output": layer(len(LABELS), HIDDEN)}
    return json.dumps(content, indent=1).encode() + b"\n"


class ModelFile:
    """A model file that is read again whenever it changes; a replicated model is served instead once it is current."""

    def __init__(self, path: Path, current: Path | None = None) -> None:
        self.path = path
        self.version = 0
        """Of the replicated model; 0: the file is served."""
        self._own = path
        self._current = current
        self._seen: tuple[int, int, int] | None = None
        self._model: Model | None = None
        self._problem = ""

    def load(self) -> Model:
        """The model as the file has it now. Raises ModelError."""
        self._follow()
        try:
            stat = self.path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen != self._seen:
                self._read(self.path.read_bytes())
                self._seen = seen
        except OSError as error:
            self._seen = None
            raise ModelError(f"{self.path}: {error.strerror}") from error
        if self._model is None:
            raise ModelError(f"{self.path}: {self._problem}")
        return self._model

    def _follow(self) -> None:
        """Look where `current` leads now: one step of its owner changes all that is served."""
        release = self._current.resolve() if self._current is not None else None
        if release is None or not release.name.isdecimal():
            self.path, self.version = self._own, 0
            return
        if self.version != int(release.name):
            files = sorted((release / release.name).glob("*.json"))
            self.path, self.version = files[0] if files else release / release.name, int(release.name)

    def _read(self, content: bytes) -> None:
        try:
            self._model, self._problem = parse_model(content), ""
        except ModelError as error:
            self._model, self._problem = None, str(error)
