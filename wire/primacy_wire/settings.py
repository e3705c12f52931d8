"""One schema for a daemon's settings file, environment and flags.

The schema is a msgspec Struct. Flags win over the environment, which wins over the file, which wins over the defaults.
Every fault is named with its place: `primacy.yaml:9: regions[1].weigth: unknown key (did you mean weight?)`.
"""

from __future__ import annotations

import pathlib
import re
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import fields

from primacy_wire.durations import Duration
from primacy_wire.yaml_text import ConfigError, Document, Path, did_you_mean, dotted, parse, parse_scalar

__all__ = ["ConfigError", "Duration", "load"]

T = TypeVar("T", bound=msgspec.Struct)

_FAULT = re.compile(r"^(?P<text>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"`(.+)` is missing")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_ANY_KEY = "..."
_FAULTS_MAX = 50
_NOTHING: Mapping[str, str] = types.MappingProxyType({})


def load(
    kind: type[T],
    path: str | None = None,
    env_prefix: str = "",
    environ: Mapping[str, str] = _NOTHING,
    overrides: Mapping[str, str | None] = _NOTHING,
) -> T:
    """Read settings of this kind. Raises ConfigError with every problem found.

    The variable of `tls.certificate` is `PREFIX_TLS__CERTIFICATE`; one that begins with the prefix and fits to nothing
    is a problem, too. `overrides` are flags by dotted path (`tls.certificate`); None means not given.
    """
    document = _read(path)
    problems: list[str] = []
    _drop_unknown(document, kind, document.value, (), problems)
    places: dict[Path, str] = {}
    leaves = dict(_leaves(kind, ()))
    given: list[tuple[Path, str, str]] = []
    given += _from_environment(leaves, env_prefix, environ, problems)
    given += _from_flags(leaves, overrides, problems)
    for leaf, text, place in given:
        try:
            value = _value_of(text, leaves[leaf])
        except ConfigError:
            problems.append(f"{place}: {dotted(leaf)}: cannot be read: {text!r}")
            continue
        _put(document.value, leaf, value)
        places[leaf] = place
    return _convert(kind, document, places, problems)


def _read(path: str | None) -> Document:
    if path is None:
        return Document("settings", {})
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from error
    document = parse(text, path)
    if not isinstance(document.value, dict):
        raise ConfigError([f"{path}:1: must be a mapping of settings"])
    return document


def _convert(kind: type[T], document: Document, places: Mapping[Path, str], problems: list[str]) -> T:
    """Convert, and after a fault go on without the faulty value, so that all faults come to light at once."""
    removed: set[str] = set()
    while True:
        try:
            settings = msgspec.convert(document.value, kind, dec_hook=_custom)
        except msgspec.ValidationError as error:
            path, text = _fault(error)
            path = _with_keys(kind, document.value, path)
            missing = _MISSING.fullmatch(text)
            if missing and dotted((*path, missing[1])) in removed:
                raise ConfigError(problems) from error
            place = next(
                (places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), document.place(path)
            )
            where = dotted(path)
            problems.append(f"{place}: {where}: {text}" if where else f"{place}: {text}")
            if len(problems) < _FAULTS_MAX and _remove(document.value, path):
                removed.add(where)
                continue
            raise ConfigError(problems) from error
        if problems:
            raise ConfigError(problems)
        return settings


def _fault(error: msgspec.ValidationError) -> tuple[Path, str]:
    found = _FAULT.match(str(error))
    if found is None:
        return (), str(error)
    steps = _STEP.findall(found["path"] or "")
    path: Path = tuple(name or (int(index) if index.isdigit() else index) for name, index in steps)
    text = found["text"]
    if text.startswith("Object missing required field"):
        return path, text.removeprefix("Object missing required field ") + " is missing"
    return path, text[:1].lower() + text[1:]


def _with_keys(kind: type[msgspec.Struct], whole: Any, path: Path) -> Path:
    """The path with real keys: of a mapping with free keys, msgspec says `...` instead of which."""
    while _ANY_KEY in path:
        place = path.index(_ANY_KEY)
        mapping = whole
        for step in path[:place]:
            mapping = mapping[step]
        keys = [key for key in list(mapping) if _is_at_fault(kind, whole, mapping, key, path[place:])]
        if not keys:
            return path[:place]
        path = (*path[:place], keys[0], *path[place + 1 :])
    return path


def _is_at_fault(kind: type[msgspec.Struct], whole: Any, mapping: dict[str, Any], key: str, path_end: Path) -> bool:
    """Whether the fault is still there when `mapping`, a part of `whole`, has this key alone."""
    every = dict(mapping)
    mapping.clear()
    mapping[key] = every[key]
    try:
        msgspec.convert(whole, kind, dec_hook=_custom)
    except msgspec.ValidationError as error:
        found, _ = _fault(error)
        return found[-len(path_end) :] == path_end
    finally:
        mapping.clear()
        mapping.update(every)
    return False


def _remove(value: Any, path: Path) -> bool:
    """Take the faulty value out; False if its absence would only make another fault."""
    if not path or not isinstance(path[-1], str):
        return False
    for step in path[:-1]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(value, dict) and value.pop(path[-1], _remove) is not _remove


def _custom(kind: type[Any], value: Any) -> Any:
    """Types that msgspec does not know by itself."""
    if kind is Duration:
        return Duration.of(value)
    if issubclass(kind, pathlib.Path) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"must be a {kind.__name__}")


# ---- what the schema knows


def _drop_unknown(document: Document, kind: Any, value: Any, path: Path, problems: list[str]) -> None:
    """Report keys that the schema does not know, and take them out."""
    kind = _plain(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        kind = _chosen(arguments, value)
    if isinstance(value, dict) and _is_struct(kind):
        known = {field.encode_name: field for field in fields(kind)}
        tag = kind.__struct_config__.tag_field
        for name in list(value):
            if name in known:
                _drop_unknown(document, known[name].type, value[name], (*path, name), problems)
            elif name != tag:
                below = (*path, name)
                hint = did_you_mean(name, known)
                problems.append(f"{document.place(below)}: {dotted(below)}: unknown key{hint}")
                del value[name]
    elif isinstance(value, list) and origin in (list, tuple):
        for index, item in enumerate(value):
            _drop_unknown(document, arguments[0], item, (*path, index), problems)
    elif isinstance(value, dict) and origin is dict:
        for name, item in value.items():
            _drop_unknown(document, arguments[1], item, (*path, name), problems)


def _chosen(alternatives: tuple[Any, ...], value: Any) -> Any:
    """The struct of a tagged union that the value's tag names."""
    structs = [each for each in map(_plain, alternatives) if _is_struct(each)]
    if len(structs) == 1:
        return structs[0]
    for each in structs:
        config = each.__struct_config__
        if isinstance(value, dict) and value.get(config.tag_field) == config.tag:
            return each
    return None


def _leaves(kind: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every setting that can be given as one text."""
    for each in fields(kind):
        below = (*path, each.encode_name)
        inner = _plain(each.type)
        if typing.get_origin(inner) in (typing.Union, types.UnionType):
            inner = _chosen(typing.get_args(inner), None) or each.type
        if _is_struct(inner):
            yield from _leaves(inner, below)
        else:
            yield below, each.type


def _plain(kind: Any) -> Any:
    """Without `Annotated`, and without `None` where that leaves one type."""
    if typing.get_origin(kind) is typing.Annotated:
        return _plain(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [each for each in typing.get_args(kind) if each is not types.NoneType]
        if len(rest) == 1:
            return _plain(rest[0])
    return kind


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


# ---- environment and flags


def _from_environment(
    leaves: Mapping[Path, Any], prefix: str, environ: Mapping[str, str], problems: list[str]
) -> list[tuple[Path, str, str]]:
    if not prefix:
        return []
    known = {_variable(prefix, leaf): leaf for leaf in leaves}
    given = []
    for name, text in sorted(environ.items()):
        if name in known:
            given.append((known[name], text, name))
        elif name.startswith(prefix + "_"):
            problems.append(f"{name}: unknown setting{did_you_mean(name, known)}")
    return given


def _variable(prefix: str, leaf: Path) -> str:
    words = [re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(step)).upper() for step in leaf]
    return f"{prefix}_{'__'.join(words)}"


def _from_flags(
    leaves: Mapping[Path, Any], overrides: Mapping[str, str | None], problems: list[str]
) -> list[tuple[Path, str, str]]:
    known = {dotted(leaf): leaf for leaf in leaves}
    given = []
    for name, text in overrides.items():
        if name not in known:
            problems.append(f"command line: {name}: unknown setting{did_you_mean(name, known)}")
        elif text is not None:
            given.append((known[name], text, "command line"))
    return given


def _value_of(text: str, kind: Any) -> Any:
    """A text as the setting's type wants it: `a,b` is a list, words stay words, the rest is read as YAML."""
    kind = _plain(kind)
    if typing.get_origin(kind) in (list, tuple) and not text.lstrip().startswith("["):
        inner = typing.get_args(kind)[0]
        return [_value_of(part.strip(), inner) for part in text.split(",") if part.strip()]
    if kind is str or (isinstance(kind, type) and issubclass(kind, pathlib.PurePath)):
        return text
    return parse_scalar(text)


def _put(value: dict[str, Any], path: Path, leaf: Any) -> None:
    for step in path[:-1]:
        below = value.get(str(step))
        if not isinstance(below, dict):
            below = value[str(step)] = {}
        value = below
    value[str(path[-1])] = leaf
