"""What a move would cost, in words."""

from __future__ import annotations

from primacy.v1 import election_pb2, override_pb2

from primacy_cli.words import length, number, plural, size, span

_LATENCY_NS_MIN = 5_000_000
"""Less than this is noise between places that are near each other, and not worth a word."""


def price_text(price: election_pb2.Price) -> str:
    """`may lose the last 3.2 s (12 changes), 80 ms slower, 50 requests per second short`."""
    parts = [loss_text(price.at_risk) if price.HasField("at_risk") else "loss not measured"]
    added_ns = price.added_latency.ToNanoseconds()
    if abs(added_ns) >= _LATENCY_NS_MIN:
        parts.append(f"{span(added_ns)} {'slower' if added_ns > 0 else 'faster'}")
    if price.capacity_short > 0:
        parts.append(f"{number(price.capacity_short)} requests per second short")
    return ", ".join(parts)


def loss_text(lag: override_pb2.Lag) -> str:
    """What is lost when the data is so far behind and its source is gone."""
    known = [
        text
        for text, value in (
            (f"the last {length(lag.age)}", lag.age.ToNanoseconds() if lag.HasField("age") else 0),
            (plural(lag.entries, "change"), lag.entries),
            (size(lag.bytes), lag.bytes),
        )
        if value
    ]
    if not known:
        return "loses nothing" if _is_measured(lag) else "loss not measured"
    return f"may lose {known[0]}" + (f" ({', '.join(known[1:])})" if known[1:] else "")


def lag_text(lag: override_pb2.Lag) -> str:
    """How far data is behind; empty when nobody measures it."""
    parts = []
    if lag.HasField("age"):
        parts.append(length(lag.age))
    if lag.HasField("entries"):
        parts.append(plural(lag.entries, "change"))
    if lag.HasField("bytes"):
        parts.append(size(lag.bytes))
    return ", ".join(parts)


def _is_measured(lag: override_pb2.Lag) -> bool:
    return lag.HasField("age") or lag.HasField("entries") or lag.HasField("bytes")
