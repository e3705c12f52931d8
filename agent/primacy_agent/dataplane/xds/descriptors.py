"""Envoy's messages, from descriptors that the build wrote (see `hatch_build.py`), in a pool of their own.

No module of the name `envoy` is imported, and nothing here meets what other packages have put in the default pool.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from primacy_wire.server import ListenError

PATH = Path(__file__).with_name("descriptors.binpb")


@cache
def pool(path: Path = PATH) -> descriptor_pool.DescriptorPool:
    """Every descriptor. Raises ListenError, which ends the agent's start, when the file is not there."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    except OSError as error:
        raise ListenError(
            f"dataplane.xds needs {path}, which the installation writes ({error.strerror}): install primacy again, "
            "in a checkout with: pip install -e ."
        ) from error
    made = descriptor_pool.DescriptorPool()
    for file in files.file:
        made.AddSerializedFile(file.SerializeToString())
    return made


@cache
def message(name: str) -> Any:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))
