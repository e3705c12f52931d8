"""YAML as people mean it, with the line of every value.

Read with PyYAML's C parser, but without YAML 1.1's traps: `no`, `on` and `1:30` stay the texts that they look like, and
a key that is given twice is an error instead of silently the last one. JSON is read too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
"""Where a value stands: `("regions", 1, "weight")`."""

_NODES_MAX = 100_000
_TAG = "tag:yaml.org,2002:"


class ConfigError(Exception):
    """A text that people wrote cannot be used. `problems` has one line for each fault, with its place."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(slots=True)
class Document:
    """What a text says, and where it says it."""

    name: str
    """Of the file, for messages."""
    value: Any
    """Of dicts with str keys, lists, str, int, float, bool and None."""
    lines: dict[Path, int] = field(default_factory=dict)
    """Line, from 1, of each key or item."""

    def place(self, path: Path) -> str:
        """`primacy.yaml:9`: the line of the value, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return f"{self.name}:{self.lines[path[:length]]}"
        return self.name


class _Loader(yaml.CSafeLoader):
    """Knows null, booleans, and decimal and hexadecimal numbers, as YAML 1.2 and JSON do."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012  # PyYAML's own class attribute


for _name, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", list("tTfF")),
    ("int", r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)", list("-+0123456789")),
    (
        "float",
        r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))",
        list("-+0123456789."),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^{_pattern}$"), _first)


def parse(text: str, name: str) -> Document:
    """Read one document; an empty text is an empty mapping. Raises ConfigError with every fault."""
    if text.lstrip().startswith("{"):
        text = text.expandtabs(4)  # JSON may be indented with tabs, and has none inside its strings
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError([f"{place}: {error.problem or error.context}"]) from error
    except yaml.YAMLError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    if node is None:
        return Document(name, {})
    reading = _Reading(name)
    value = reading.value(node, ())
    if reading.problems:
        raise ConfigError(reading.problems)
    return Document(name, value, reading.lines)


def parse_scalar(text: str) -> Any:
    """What a value from the environment or the command line says, read as in a file. Raises ConfigError."""
    return parse(f"- {text}" if text else "- ''", "value").value[0]


class _Reading:
    def __init__(self, name: str) -> None:
        self.lines: dict[Path, int] = {}
        self.problems: list[str] = []
        self._name = name
        self._open: set[int] = set()
        self._nodes = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if id(node) in self._open or self._nodes > _NODES_MAX:
            raise ConfigError([f"{self._place(node)}: aliases make this endless"])
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        self._open.add(id(node))
        value = self._items(node, path) if isinstance(node, yaml.SequenceNode) else self._mapping(node, path)
        self._open.discard(id(node))
        return value

    def _items(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(f"{self._place(key)}: a key must be a word")
                continue
            name = str(key.value)
            below = (*path, name)
            if name in found:
                first = self.lines[below]
                self.problems.append(f"{self._place(key)}: {dotted(below)}: given twice (first in line {first})")
                continue
            self.lines[below] = key.start_mark.line + 1
            found[name] = self.value(item, below)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "str":
                return text
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text, 16 if text.startswith("0x") else 10)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan") if text[-1] in "fFnN" else text)
            case _:
                self.problems.append(f"{self._place(node)}: unknown tag {node.tag}")
                return None

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}"


def dotted(path: Path) -> str:
    """`regions[1].weight`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` (did you mean weight?)`, or nothing when no known word is near."""
    by_lower: Mapping[str, str] = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""
