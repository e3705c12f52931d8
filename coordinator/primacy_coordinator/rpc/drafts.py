"""What a writer wants in the log, checked: ids, keys, names, digests, and documents that really are documents."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from blake3 import blake3
from primacy.v1 import replication_pb2
from primacy_wire import documents
from primacy_wire.log_messages import CONTENT_BYTES_MAX, EntryKind
from primacy_wire.names import DIGEST_RULE, KEY_RULE, MODEL_NAME_RULE, is_digest, is_key, is_model_name, is_name

from primacy_coordinator.core.log_model import Draft
from primacy_coordinator.rpc.fields import Fields

ID_RULE = "must be 1 to 128 printable ASCII characters without spaces"
RESERVED = ("cf-", "hb-")
"""How ids begin that the coordinator gives itself."""
AT_ONCE_BYTES_MAX = {documents.JSON: 64 * 1024, documents.YAML: 2 * 1024}
"""Documents up to here are read at once, in about a millisecond; larger ones by a thread, one after the other."""

_ID = re.compile(r"[!-~]{1,128}")


class Documents:
    """Reads documents to see whether they are any, without holding up leases."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="documents")

    async def check(self, fields: Fields, path: str, content: bytes, form: str) -> None:
        """Complains to `fields` about what is no document of that format."""
        if len(content) > CONTENT_BYTES_MAX:
            fields.add(path, "TOO_LARGE", f"must be at most {CONTENT_BYTES_MAX:,} bytes, got {len(content):,}")
            return
        try:
            if len(content) <= AT_ONCE_BYTES_MAX[form]:
                documents.read(content, form)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, documents.read, content, form)
        except documents.BadDocument as error:
            fields.add(path, "DOCUMENT_MALFORMED", str(error))


async def parse_draft(fields: Fields, entry: replication_pb2.Entry, checker: Documents) -> Draft:
    """The write that the message means. Raises `InvalidRequest` with everything that is wrong with it."""
    kind, content, digest, size = entry.kind, entry.content, entry.digest, entry.size
    wall_ns, counter = _check_writer(fields, entry)
    if kind == replication_pb2.ENTRY_KIND_CONFIG:
        _check_document(fields, entry)
    elif kind == replication_pb2.ENTRY_KIND_MODEL:
        _check_model(fields, entry)
    else:
        fields.add("entry.kind", "REQUIRED", "must be ENTRY_KIND_MODEL or ENTRY_KIND_CONFIG")
    fields.check()
    if kind == replication_pb2.ENTRY_KIND_CONFIG and not entry.removed:
        await checker.check(fields, "entry.content", content, entry.format)
        digest, size = blake3(content).hexdigest(), len(content)
        if entry.digest not in ("", digest):
            fields.add("entry.digest", "DIGEST_MISMATCH", f"must be {digest}, the BLAKE3 digest of the content")
        fields.check()
    return Draft(
        id=entry.id,
        kind=EntryKind(kind),
        key=entry.key,
        digest=digest,
        size=size,
        parent=entry.parent,
        time_wall_ns=wall_ns,
        time_counter=counter,
        epoch=entry.epoch,
        origin=entry.origin,
        agent=entry.agent,
        content=content,
        format=entry.format,
        removed=entry.removed,
        message=entry.message,
    )


def _check_writer(fields: Fields, entry: replication_pb2.Entry) -> tuple[int, int]:
    """Returns (wall_ns, counter) of the time of the write."""
    entry_id, origin, agent, time = entry.id, entry.origin, entry.agent, entry.time
    if not _ID.fullmatch(entry_id):
        fields.add("entry.id", "ID_MALFORMED" if entry_id else "REQUIRED", ID_RULE)
    elif entry_id.startswith(RESERVED):
        fields.add("entry.id", "ID_RESERVED", f"must not begin with {' or '.join(RESERVED)}: those are the log's own")
    fields.name("entry.origin", origin)
    region, _, name = agent.partition("/")
    if not is_name(name):
        fields.add("entry.agent", "NAME_MALFORMED" if agent else "REQUIRED", "must be REGION/AGENT")
    elif region != origin:
        fields.add("entry.agent", "NAME_MALFORMED", f"must be an agent of the origin: {origin[:64]}/AGENT")
    if entry.epoch < 0 or entry.parent < 0 or entry.size < 0:
        for field, value in (("epoch", entry.epoch), ("parent", entry.parent), ("size", entry.size)):
            if value < 0:
                fields.add(f"entry.{field}", "OUT_OF_RANGE", "must be 0 or more")
    wall_ns, counter = time.wall_ns, time.counter
    if wall_ns < 1:
        fields.add("entry.time.wallNs", "REQUIRED", "must be when it was written, in nanoseconds since 1970")
    if counter < 0:
        fields.add("entry.time.counter", "OUT_OF_RANGE", "must be 0 or more")
    if time.node not in ("", agent):
        fields.add("entry.time.node", "NAME_MALFORMED", "must be the same as `agent`, or not set")
    fields.text("entry.message", entry.message)
    return wall_ns, counter


def _check_model(fields: Fields, entry: replication_pb2.Entry) -> None:
    if not is_model_name(entry.key):
        fields.add("entry.key", "NAME_MALFORMED" if entry.key else "REQUIRED", MODEL_NAME_RULE)
    if entry.removed:
        _check_bare(fields, entry)
        return
    if not is_digest(entry.digest):
        fields.add(
            "entry.digest", "DIGEST_MALFORMED" if entry.digest else "REQUIRED", f"of its manifest: {DIGEST_RULE}"
        )
    if not entry.HasField("size"):
        fields.add("entry.size", "REQUIRED", "must be the bytes of all its files")
    if entry.content:
        fields.add("entry.content", "NOT_ALLOWED", "must be empty: the bytes of a model move from agent to agent")
    if entry.format:
        fields.add("entry.format", "NOT_ALLOWED", "must be empty for a model")


def _check_document(fields: Fields, entry: replication_pb2.Entry) -> None:
    if not is_key(entry.key):
        fields.add("entry.key", "KEY_MALFORMED" if entry.key else "REQUIRED", KEY_RULE)
    if entry.removed:
        _check_bare(fields, entry)
        return
    if entry.format not in documents.FORMATS:
        reason = "FORMAT_UNKNOWN" if entry.format else "REQUIRED"
        fields.add("entry.format", reason, f"must be {' or '.join(documents.FORMATS)}")
    if entry.digest and not is_digest(entry.digest):
        fields.add("entry.digest", "DIGEST_MALFORMED", f"{DIGEST_RULE}, or not set")
    if entry.HasField("size") and entry.size not in (0, len(entry.content)):
        fields.add(
            "entry.size", "SIZE_MISMATCH", f"must be the {len(entry.content):,} bytes of the content, or not set"
        )


def _check_bare(fields: Fields, entry: replication_pb2.Entry) -> None:
    """A removal names its key, and brings nothing."""
    for name, value in (
        ("content", entry.content),
        ("digest", entry.digest),
        ("format", entry.format),
        ("size", entry.size),
    ):
        if value:
            fields.add(f"entry.{name}", "NOT_ALLOWED", "must be empty for a removal")
