"""What a look says for people, from texts that others wrote."""

from __future__ import annotations

LENGTH_MAX = 200


def one_line(text: str) -> str:
    """The text without what disturbs a terminal or a table, cut to a length that fits into a report."""
    plain = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * LENGTH_MAX])
    words = " ".join(plain.split())
    return words if len(words) <= LENGTH_MAX else words[: LENGTH_MAX - 1] + "…"


def last_line(output: bytes) -> str:
    """The last line that says something, or nothing."""
    for line in reversed(output.splitlines()):
        if text := one_line(line.decode(errors="replace")):
            return text
    return ""
