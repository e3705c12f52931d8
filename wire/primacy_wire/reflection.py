"""Server reflection that shows JSON names.

Python's generated descriptors carry no `json_name`, and grpcurl prints what reflection tells it: `expire_time` instead
of `expireTime`. So reflection is served from a private pool in which the names are filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

HEALTH_SERVICE: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


def enable_reflection(server: grpc.aio.Server, service_names: Iterable[str]) -> None:
    """Serve reflection of these services, of health, and of reflection itself."""
    names = sorted({*service_names, HEALTH_SERVICE, reflection.SERVICE_NAME})
    reflection.enable_server_reflection(names, server, pool=json_named_pool(names))


def json_named_pool(service_names: Iterable[str]) -> descriptor_pool.DescriptorPool:
    """A pool with the files of these services, and of error details, in which every field has its `json_name`.

    Raises KeyError for a service whose generated code was not imported.
    """
    default = descriptor_pool.Default()
    pool = descriptor_pool.DescriptorPool()
    seen: set[str] = set()
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR):
        _add(pool, file, seen)
    for name in service_names:
        _add(pool, default.FindServiceByName(name).file, seen)
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: Any, seen: set[str]) -> None:
    if file.name in seen:
        return
    seen.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, seen)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    for message in proto.message_type:
        _fill(message)
    for extension in proto.extension:
        extension.json_name = json_name(extension.name)
    pool.AddSerializedFile(proto.SerializeToString())


def _fill(message: descriptor_pb2.DescriptorProto) -> None:
    for field in message.field:
        field.json_name = json_name(field.name)
    for nested in message.nested_type:
        _fill(nested)


def json_name(field_name: str) -> str:
    """The name of a field in proto3 JSON: `expire_time` is `expireTime`."""
    first, *rest = field_name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
