"""Build hook: two things that the packages carry and that are not committed.

The dashboard is bundled by `dashboard/bundle.py` into the coordinator's package.

What the agent's xDS server must know of Envoy's messages goes into the agent's package, as one file. The descriptors
come from the package `xds-protos`, which only the build has: at run time it would break OpenTelemetry, whose modules it
ships, too. The file is no generated code: it is read into a pool of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
    from google.protobuf.descriptor_pb2 import DescriptorProto, EnumDescriptorProto, FileDescriptorProto

DESCRIPTORS = Path("agent/primacy_agent/dataplane/xds/descriptors.binpb")

ROOTS = {
    "envoy.config.cluster.v3.cluster_pb2": ["Cluster"],
    "envoy.config.endpoint.v3.endpoint_pb2": ["ClusterLoadAssignment"],
    "envoy.config.listener.v3.listener_pb2": ["Listener"],
    "envoy.config.route.v3.route_pb2": ["RouteConfiguration"],
    "envoy.extensions.filters.http.router.v3.router_pb2": ["Router"],
    "envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2": [
        "HttpConnectionManager"
    ],
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2": ["PreviousHostsPredicate"],
    "envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2": [
        "PreviousPrioritiesConfig"
    ],
    "envoy.extensions.upstreams.http.v3.http_protocol_options_pb2": ["HttpProtocolOptions"],
    "envoy.service.discovery.v3.discovery_pb2": [
        "DeltaDiscoveryRequest",
        "DeltaDiscoveryResponse",
        "DiscoveryRequest",
        "DiscoveryResponse",
    ],
    "envoy.service.load_stats.v3.lrs_pb2": ["LoadStatsRequest", "LoadStatsResponse"],
}
"""The messages that the agent reads and writes, by the module that has them. What their fields need comes along."""


class CustomBuildHook(BuildHookInterface):
    """Bundles the dashboard, and writes the descriptors before a wheel is built; an editable install is one, too."""

    def dependencies(self) -> list[str]:
        """Node.js, where the dashboard must be bundled and there is none."""
        bundle = _bundle(self.root)
        if os.environ.get(bundle.SWITCH) == "0" or bundle.is_current(Path(self.root)) or bundle.has_node():
            return []
        return [bundle.NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        self._bundle_dashboard(version, build_data)
        if self.target_name != "wheel":
            return
        path = Path(self.root) / DESCRIPTORS
        build_data["artifacts"].append(str(DESCRIPTORS))
        if path.exists() and path.stat().st_mtime >= Path(__file__).stat().st_mtime:
            return
        written = path.with_suffix(".new")
        written.write_bytes(descriptors(ROOTS))
        written.replace(path)

    def _bundle_dashboard(self, version: str, build_data: dict[str, Any]) -> None:
        """Whoever installs for development gets by without a dashboard; what is given to others has one."""
        bundle = _bundle(self.root)
        build_data["artifacts"].append(f"{bundle.ASSETS}/*")
        switch = os.environ.get(bundle.SWITCH, "")
        if switch == "0" or bundle.is_current(Path(self.root)):
            return
        try:
            bundle.build(Path(self.root))
        except bundle.NotBuilt as error:
            if version != "editable" or switch == "1":
                raise
            self.app.display_warning(f"{error}\nThe coordinator works without its dashboard, and its page says so.")


def _bundle(root: str) -> ModuleType:
    """`dashboard/bundle.py`: a build has no path to it."""
    spec = importlib.util.spec_from_file_location("bundle", Path(root) / "dashboard" / "bundle.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def descriptors(roots: dict[str, list[str]]) -> bytes:
    """A `google.protobuf.FileDescriptorSet` with these messages and what they need: no options, no extensions, and each
    file behind those that it imports."""
    from google.protobuf import descriptor_pb2

    found: dict[str, Descriptor | EnumDescriptor] = {}
    for module, names in roots.items():
        types = importlib.import_module(module).DESCRIPTOR.message_types_by_name
        for name in names:
            _follow(types[name], found)
    pruned = descriptor_pb2.FileDescriptorSet()
    for file in _in_order({one.file.name: one.file for one in found.values()}):
        pruned.file.append(_pruned_file(file, found))
    return pruned.SerializeToString(deterministic=True)


def _follow(start: Descriptor, found: dict[str, Descriptor | EnumDescriptor]) -> None:
    """Add the message and all that its fields are made of."""
    waiting = [start]
    while waiting:
        message = waiting.pop()
        if message.full_name in found:
            continue
        found[message.full_name] = message
        for field in message.fields:
            if field.enum_type is not None:
                found[field.enum_type.full_name] = field.enum_type
            elif field.message_type is not None:
                waiting.append(field.message_type)


def _in_order(files: dict[str, FileDescriptor]) -> list[FileDescriptor]:
    """Each file behind those that it imports."""
    done: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for imported in sorted(file.dependencies, key=lambda one: one.name):
            if imported.name not in done:
                visit(imported)
        done[file.name] = file

    for name in sorted(files):
        if name not in done:
            visit(files[name])
    return [file for name, file in done.items() if name in files]


def _pruned_file(file: FileDescriptor, found: dict[str, Descriptor | EnumDescriptor]) -> FileDescriptorProto:
    from google.protobuf import descriptor_pb2

    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    pruned = descriptor_pb2.FileDescriptorProto(name=proto.name, package=proto.package, syntax=proto.syntax)
    if proto.edition:
        pruned.edition = proto.edition
    prefix = f"{proto.package}." if proto.package else ""
    pruned.message_type.extend(_pruned_messages(prefix, proto.message_type, found))
    pruned.enum_type.extend(_pruned_enums(prefix, proto.enum_type, found))
    used = {found[name].file.name for name in _types_of(pruned.message_type)}
    pruned.dependency.extend(sorted(used - {proto.name}))
    return pruned


def _pruned_messages(
    prefix: str, messages: Iterable[DescriptorProto], found: dict[str, Descriptor | EnumDescriptor]
) -> list[DescriptorProto]:
    """Those that were found, and those that hold one that was."""
    from google.protobuf import descriptor_pb2

    kept = []
    for message in messages:
        inner = f"{prefix}{message.name}."
        nested = _pruned_messages(inner, message.nested_type, found)
        enums = _pruned_enums(inner, message.enum_type, found)
        pruned = descriptor_pb2.DescriptorProto(name=message.name, nested_type=nested, enum_type=enums)
        if f"{prefix}{message.name}" in found:
            pruned.field.extend(message.field)
            pruned.oneof_decl.extend(message.oneof_decl)
            for field in pruned.field:
                packed = field.options.packed if field.options.HasField("packed") else None
                field.ClearField("options")
                if packed is not None:
                    field.options.packed = packed
            for choice in pruned.oneof_decl:
                choice.ClearField("options")
            if message.options.map_entry:
                pruned.options.map_entry = True
        elif not nested and not enums:
            continue
        kept.append(pruned)
    return kept


def _pruned_enums(
    prefix: str, enums: Iterable[EnumDescriptorProto], found: dict[str, Descriptor | EnumDescriptor]
) -> list[EnumDescriptorProto]:
    from google.protobuf import descriptor_pb2

    kept = []
    for enum in enums:
        if f"{prefix}{enum.name}" not in found:
            continue
        pruned = descriptor_pb2.EnumDescriptorProto(name=enum.name, value=enum.value)
        for value in pruned.value:
            value.ClearField("options")
        if enum.options.allow_alias:
            pruned.options.allow_alias = True
        kept.append(pruned)
    return kept


def _types_of(messages: Iterable[DescriptorProto]) -> set[str]:
    """Full names of what the fields are made of."""
    names: set[str] = set()
    for message in messages:
        names |= {field.type_name.removeprefix(".") for field in message.field if field.type_name}
        names |= _types_of(message.nested_type)
    return names
