"""Writes docs/policy.md from the comments, types and values of proto/primacy/v1/policy.proto.

Run by scripts/gen-docs; with `--check` it writes nothing and exits with 1 when the page differs from the schema.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "policy.md"
PROTOS = tuple(f"primacy/v1/{name}.proto" for name in ("policy", "replication", "routing", "monitoring", "event"))
FIELD, MESSAGE, ENUM, VALUE = 2, 4, 5, 2
"""Field numbers in FileDescriptorProto and below, of which the paths of comments are made."""

HEAD = """# Policy reference

<!-- Written by scripts/gen-docs from proto/primacy/v1/policy.proto; change that file, then run it again. -->

A group's policy says how its active region is chosen, when the lease may move, and how reads are spread. It is one YAML
file with the keys below; what it does not name has its default.

```yaml
# policy.yaml
strategy: priority
readStrategy: geographic
leaseTtl: 5s
grace: 2s
failback: manual
maxLag: {age: 10s}
```

- Look at it: `primacy policy get`. See what a file would change: `primacy policy diff policy.yaml`.
- See how long a failover could take under it: `primacy policy check policy.yaml`.
- Set it: `primacy policy set policy.yaml`. Give it to a new group: `primacy-coordinator --policy policy.yaml`.

Unknown keys are refused, and so are settings that do not fit together; the message names the key and what it expected.
Lengths of time are written `2.5s`, `90s`, `5m` or `1h`; names of values in either case, with or without their prefix.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is out of date")
    wanted = "\n".join(page())
    if parser.parse_args().check:
        if not PAGE.exists() or PAGE.read_text() != wanted:
            sys.stderr.write("docs/policy.md differs from its schema: run scripts/gen-docs and commit it\n")
            return 1
        return 0
    PAGE.write_text(wanted)
    return 0


def page() -> Iterator[str]:
    """The lines of the page."""
    files = _described()
    enums = {f".primacy.v1.{enum.name}": enum for file in files.values() for enum in file.enum_type}
    messages = {f".primacy.v1.{m.name}": (file, i) for file in files.values() for i, m in enumerate(file.message_type)}
    yield HEAD
    yield "## Keys"
    yield ""
    root = ".primacy.v1.Policy"
    yield from _table(*messages[root], enums, messages)
    used = _used(root, messages)
    for name in used:
        if name not in messages or name == root:
            continue
        file, index = messages[name]
        yield ""
        yield f"## {_title(name)}"
        yield ""
        yield _sentence(_comment(file, (MESSAGE, index)))
        yield ""
        yield from _table(file, index, enums, messages)
    for name in used:
        if name in enums:
            yield from _values(name, files, enums)
    yield ""


def _used(root: str, messages: dict[str, tuple[descriptor_pb2.FileDescriptorProto, int]]) -> list[str]:
    """Messages and enums that the policy is made of, sorted."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name in messages:
            file, index = messages[name]
            fields = file.message_type[index].field
            waiting += [_map_value(file, f).type_name if _is_map(file, f) else f.type_name for f in fields]
    return sorted(found)


def _described() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "descriptors"
        includes = Path(protoc.__file__).parent / "_proto"
        code = protoc.main(
            [
                "protoc",
                f"-I{ROOT / 'proto'}",
                f"-I{includes}",
                "--include_source_info",
                f"--descriptor_set_out={out}",
                *PROTOS,
            ]
        )
        if code:
            raise SystemExit(code)
        found = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return {file.name: file for file in found.file}


def _table(
    file: descriptor_pb2.FileDescriptorProto,
    index: int,
    enums: dict[str, descriptor_pb2.EnumDescriptorProto],
    messages: dict[str, tuple[descriptor_pb2.FileDescriptorProto, int]],
) -> Iterator[str]:
    yield "| key | type | meaning |"
    yield "| --- | --- | --- |"
    for number, field in enumerate(file.message_type[index].field):
        meaning = _sentence(_comment(file, (MESSAGE, index, FIELD, number)))
        yield f"| `{field.json_name}` | {_type(file, field, enums, messages)} | {meaning} |"


def _values(
    name: str,
    files: dict[str, descriptor_pb2.FileDescriptorProto],
    enums: dict[str, descriptor_pb2.EnumDescriptorProto],
) -> Iterator[str]:
    file, index = next(
        (file, i) for file in files.values() for i, enum in enumerate(file.enum_type) if enum is enums[name]
    )
    prefix = _prefix(name)
    yield ""
    yield f"## {_title(name)}"
    yield ""
    yield _sentence(_comment(file, (ENUM, index)))
    yield ""
    yield "| value | meaning |"
    yield "| --- | --- |"
    for number, value in enumerate(enums[name].value):
        if value.number:
            meaning = _sentence(_comment(file, (ENUM, index, VALUE, number)))
            yield f"| `{value.name.removeprefix(prefix)}` | {meaning} |"


def _type(
    file: descriptor_pb2.FileDescriptorProto,
    field: descriptor_pb2.FieldDescriptorProto,
    enums: dict[str, descriptor_pb2.EnumDescriptorProto],
    messages: dict[str, tuple[descriptor_pb2.FileDescriptorProto, int]],
) -> str:
    if field.type_name == ".google.protobuf.Duration":
        return "length of time"
    if field.type_name in enums or (field.type_name in messages and not _is_map(file, field)):
        link = f"[{_title(field.type_name)}](#{_title(field.type_name).lower().replace(' ', '-')})"
        return f"list of {link}" if field.label == descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED else link
    if _is_map(file, field):
        return f"name: {_type(file, _map_value(file, field), enums, messages)}"
    kinds = descriptor_pb2.FieldDescriptorProto
    one = {kinds.TYPE_DOUBLE: "number", kinds.TYPE_STRING: "text", kinds.TYPE_BOOL: "true or false"}.get(
        field.type, "whole number"
    )
    return f"list of {one}s" if field.label == kinds.LABEL_REPEATED else one


def _is_map(file: descriptor_pb2.FileDescriptorProto, field: descriptor_pb2.FieldDescriptorProto) -> bool:
    return any(
        field.type_name == f".{file.package}.{m.name}.{nested.name}" and nested.options.map_entry
        for m in file.message_type
        for nested in m.nested_type
    )


def _map_value(
    file: descriptor_pb2.FileDescriptorProto, field: descriptor_pb2.FieldDescriptorProto
) -> descriptor_pb2.FieldDescriptorProto:
    (found,) = (
        nested
        for m in file.message_type
        for nested in m.nested_type
        if field.type_name == f".{file.package}.{m.name}.{nested.name}"
    )
    return next(each for each in found.field if each.name == "value")


def _comment(file: descriptor_pb2.FileDescriptorProto, path: tuple[int, ...]) -> str:
    for location in file.source_code_info.location:
        if tuple(location.path) == path:
            return location.leading_comments
    return ""


def _sentence(comment: str) -> str:
    text = " ".join(comment.split()).replace("|", "\\|")
    # Comments name fields as the proto does; the file has their JSON names.
    return re.sub(r"`([a-z]+(?:_[a-z]+)+)`", lambda found: f"`{_camel(found[1])}`", text)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _title(name: str) -> str:
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in name.rpartition(".")[2]).strip()
    return words.capitalize()


def _prefix(name: str) -> str:
    return "".join(f"_{c}" if c.isupper() else c.upper() for c in name.rpartition(".")[2]).lstrip("_") + "_"


if __name__ == "__main__":
    sys.exit(main())
