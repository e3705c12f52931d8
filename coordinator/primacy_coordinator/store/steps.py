"""One step of one series of a group as bytes: all its regions, packed together."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from primacy_coordinator.core.monitor.packing import Unpacked, merge_packed
from primacy_coordinator.core.monitor.queries import Pair
from primacy_coordinator.core.monitor.rows import Stat
from primacy_coordinator.core.monitor.tiers import Block

LEVEL = 1
"""Of compression: quick."""


class _Content(msgspec.Struct, array_like=True):
    gauges: list[tuple[str, str, float, float, float, float, int]]
    sketches: list[tuple[str, str, bytes]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Content)


class Step(msgspec.Struct):
    """What a step has of one series."""

    stats: dict[Pair, Stat]
    sketches: dict[Pair, bytes]


def encode(step: Step) -> bytes:
    content = _Content(
        [(*pair, *stat) for pair, stat in step.stats.items()],
        [(*pair, packed) for pair, packed in step.sketches.items()],
    )
    return zlib.compress(_encoder.encode(content), LEVEL)


def decode(content: bytes) -> Step:
    """Raises ValueError for what `encode` did not make."""
    try:
        found = _decoder.decode(zlib.decompress(content))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"not a step: {error}") from error
    for _, _, packed in found.sketches:
        Unpacked(packed)
    return Step(
        {(one[0], one[1]): Stat(*one[2:]) for one in found.gauges},
        {(region, target): packed for region, target, packed in found.sketches},
    )


def by_series(block: Block) -> Mapping[str, Step]:
    """A whole step, series by series."""
    found: dict[str, Step] = defaultdict(lambda: Step({}, {}))
    for key, stat in block.stats():
        found[key.name].stats[key.region, key.target] = stat
    for key, packed in block.distributions():
        found[key.name].sketches[key.region, key.target] = packed
    return found


def together(steps: Iterable[Step]) -> Step:
    """Shorter steps, the oldest first, as one longer one."""
    stats: dict[Pair, Stat] = {}
    sketches: dict[Pair, list[bytes]] = defaultdict(list)
    for step in steps:
        for pair, stat in step.stats.items():
            before = stats.get(pair)
            stats[pair] = stat if before is None else _joined(before, stat)
        for pair, packed in step.sketches.items():
            sketches[pair].append(packed)
    return Step(stats, {pair: merge_packed(parts) for pair, parts in sketches.items()})


def _joined(one: Stat, other: Stat) -> Stat:
    samples = one.samples + other.samples
    return Stat(
        (one.mean * one.samples + other.mean * other.samples) / samples,
        min(one.low, other.low),
        max(one.high, other.high),
        other.last,
        samples,
    )
