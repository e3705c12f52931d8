"""The contents of models at one agent: kept by what they are, verified whenever they are received or read."""

from primacy_agent.store.content import ContentStore
from primacy_agent.store.errors import (
    BadChunk,
    BadManifest,
    CannotBeModel,
    ChangedWhileRead,
    NotFound,
    StoreBusy,
    StoreError,
    StoreFull,
)
from primacy_agent.store.ingest import Ingested
from primacy_agent.store.manifest import Chunk, Manifest, ManifestFile, decode_manifest
from primacy_agent.store.verifying import Verified

__all__ = [
    "BadChunk",
    "BadManifest",
    "CannotBeModel",
    "ChangedWhileRead",
    "Chunk",
    "ContentStore",
    "Ingested",
    "Manifest",
    "ManifestFile",
    "NotFound",
    "StoreBusy",
    "StoreError",
    "StoreFull",
    "Verified",
    "decode_manifest",
]
