"""Writes docs/agent.md from the schema of the agent's settings.

Run by scripts/gen-docs; with `--check` it writes nothing and exits with 1 when the page differs from the schema.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import pathlib
import sys
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import msgspec
from primacy_agent.config import AgentConfig, ListenConfig, LogConfig, ReplicationConfig, TlsConfig
from primacy_agent.dataplane.config import DataplaneConfig, HaproxyConfig, WeightsFileConfig, XdsConfig
from primacy_agent.hook_config import HooksConfig
from primacy_wire.durations import Duration

PAGE = pathlib.Path(__file__).parent / "agent.md"
SECTIONS: dict[type[msgspec.Struct], str] = {
    ReplicationConfig: "replication",
    DataplaneConfig: "dataplane",
    XdsConfig: "dataplane.xds",
    HaproxyConfig: "dataplane.haproxy",
    WeightsFileConfig: "dataplane.file",
    HooksConfig: "hooks",
    TlsConfig: "tls",
    LogConfig: "log",
}
HEAD = """# Agent reference

<!-- Written by scripts/gen-docs from the agent's settings schema; change that, then run it again. -->

An agent runs beside the service of its region. Its settings come from a YAML file (`primacy-agent --config FILE`), from
environment variables named after the keys (`stateDir` is `PRIMACY_AGENT_STATE_DIR`, `replication.storeDir` is
`PRIMACY_AGENT_REPLICATION__STORE_DIR`, with two underscores for the dot), and a few from flags
(`primacy-agent --help`). A flag goes before a variable, and a variable before the file.
`primacy-agent --config FILE --check` looks at them without starting anything.

```yaml
# agent.yaml
region: us-east
coordinators: ["coordinator.internal:7400"]
endpoint: us-east.example.com:443
stateDir: /var/lib/primacy-agent
probes:
  - {name: http, kind: http, url: "http://127.0.0.1:8080/healthz"}
replication:
  modelsDir: /srv/models
  onApply: [/etc/primacy/reload]
```

Unknown keys are refused; every problem is named with its line before the agent starts. Lengths of time are written
`2.5s`, `90s`, `5m` or `1h`. Folders must be the agent's alone.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is out of date")
    wanted = "\n".join(page())
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted:
            sys.stderr.write("docs/agent.md differs from its schema: run scripts/gen-docs and commit it\n")
            return 1
        return 0
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def page() -> Iterator[str]:
    """The lines of the page."""
    yield HEAD
    yield from _section("Keys", AgentConfig)
    for struct, key in SECTIONS.items():
        yield ""
        yield from _section(f"`{key}`", struct)
    yield ""


def _section(title: str, struct: type[msgspec.Struct]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    if struct is not AgentConfig and "\n" not in (text := inspect.getdoc(struct) or ""):
        yield text
        yield ""
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    meanings = _meanings(struct)
    for field in msgspec.structs.fields(struct):
        if field.name not in meanings:
            raise SystemExit(f"{struct.__name__}.{field.name} says nowhere what it means")
        kind, limits = _type(field.type)
        meaning = " ".join(filter(None, (meanings[field.name], limits)))
        yield f"| `{field.encode_name}` | {kind} | {_default(field)} | {meaning} |"


def _meanings(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The text behind each field, in one line."""
    (tree,) = ast.parse(inspect.getsource(struct)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node, after in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[node.target.id] = " ".join(str(after.value.value).split())
    return found


def _type(given: Any) -> tuple[str, str]:
    """(what it is, within what limits), for people."""
    if typing.get_origin(given) is typing.Annotated:
        kind, meta = typing.get_args(given)
        limits = [f"At least {meta.ge:,}." if meta.ge and meta.ge > 0 else ""]
        limits.append(f"At most {meta.le:,}." if meta.le is not None and meta.le < 1_000_000 else "")
        return _type(kind)[0], " ".join(filter(None, limits))
    if typing.get_origin(given) in (typing.Union, types.UnionType):
        (given,) = (one for one in typing.get_args(given) if one is not types.NoneType)
        return _type(given)
    if given in SECTIONS:
        return f"[{SECTIONS[given]}](#{SECTIONS[given].replace('.', '')})", ""
    if given is ListenConfig:
        return "`{address: HOST:PORT}`", ""
    if typing.get_origin(given) is list:
        inner = typing.get_args(given)[0]
        return ("list of texts" if inner is str else "list of [probes](probes.md)"), ""
    if typing.get_origin(given) is dict:
        return "name: text", ""
    if isinstance(given, type) and issubclass(given, Enum):
        return ", ".join(f"`{one.value}`" for one in given), ""
    if given is Duration:
        return "length of time", ""
    return {str: "text", bool: "`true`, `false`", int: "whole number", float: "number", pathlib.Path: "path"}[given], ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    found = field.default_factory() if field.default is msgspec.NODEFAULT else field.default  # type: ignore[operator]
    if isinstance(found, ListenConfig):
        return f"`{found.address}`"
    if isinstance(found, bool):
        return f"`{str(found).lower()}`"
    if isinstance(found, Enum):
        return f"`{found.value}`"
    if found in (None, "", [], {}, pathlib.Path()) or isinstance(found, msgspec.Struct):
        return ""
    if isinstance(found, list):
        return ", ".join(f"`{one}`" for one in found)
    return f"`{found}`"


if __name__ == "__main__":
    sys.exit(main())
