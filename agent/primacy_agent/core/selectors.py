"""Which samples of a metrics page are meant: `http_requests_total{code=~"5..",job!="admin"}`, as PromQL has it.

A label that a sample does not have counts as empty. Regular expressions must fit the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SELECTOR_LENGTH_MAX = 1_000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATOR = re.compile(r"=~|!~|!=|=")
_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|' r"'((?:[^'\\\n]|\\.)*)'")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}
"""Other pairs stay as they are: `"\\d"` and `"\\\\d"` both are the pattern for a digit."""


class SelectorError(Exception):
    """Not a selector. The message says what is expected where."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label."""

    label: str
    operator: str
    """`=`, `!=`, `=~` or `!~`."""
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.label, "")
        # `re` keeps what it compiled last, so a pattern is compiled once.
        same = found == self.value if "~" not in self.operator else re.fullmatch(self.value, found) is not None
        return same is not self.operator.startswith("!")


@dataclass(frozen=True, slots=True)
class Selector:
    """A series by its exact name and conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def fits(self, name: str, labels: Mapping[str, str]) -> bool:
        return name == self.name and all(matcher.fits(labels) for matcher in self.matchers)


def parse_selector(text: str) -> Selector:
    """Read `NAME` or `NAME{LABEL OP "VALUE", …}`. Raises SelectorError."""
    if len(text) > SELECTOR_LENGTH_MAX:
        raise SelectorError(f"must have at most {SELECTOR_LENGTH_MAX} characters")
    words = _Words(text)
    name = words.take(_NAME, "the name of a series")
    matchers: list[Matcher] = []
    if words.skip("{"):
        while not words.skip("}"):
            label = words.take(_LABEL, "a label's name")
            operator = words.take(_OPERATOR, "=, !=, =~ or !~")
            value = words.quoted()
            if "~" in operator:
                try:
                    re.compile(value)
                except re.error as error:
                    raise SelectorError(f"{value!r} is no regular expression: {error}") from error
            matchers.append(Matcher(label, operator, value))
            if not words.skip(","):
                words.expect("}", "`,` or `}`")
                break
    words.end()
    return Selector(name, tuple(matchers))


class _Words:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self, pattern: re.Pattern[str], what: str) -> str:
        found = pattern.match(self._text, self._blank())
        if found is None:
            raise self._wrong(what)
        self._at = found.end()
        return found[0]

    def quoted(self) -> str:
        text = self.take(_TEXT, 'a value in quotes, e.g. "500"')
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), text[1:-1])

    def skip(self, sign: str) -> bool:
        there = self._text.startswith(sign, self._blank())
        self._at += len(sign) if there else 0
        return there

    def expect(self, sign: str, what: str) -> None:
        if not self.skip(sign):
            raise self._wrong(what)

    def end(self) -> None:
        if self._blank() != len(self._text):
            raise self._wrong("the end, or labels in braces")

    def _blank(self) -> int:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at

    def _wrong(self, what: str) -> SelectorError:
        return SelectorError(f"{self._text!r}: expected {what} at character {self._at + 1}")
