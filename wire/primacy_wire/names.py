"""What groups, regions, agents, models and configuration documents may be called."""

from __future__ import annotations

import re

from primacy_wire.log_messages import KEY_LENGTH_MAX, MODEL_NAME_LENGTH_MAX

DEFAULT_GROUP = "default"
NAME_RULE = (
    "must be 1 to 63 of lower-case letters, digits, `-`, `_` and `.`, the first and last of them a letter or digit"
)
MODEL_NAME_RULE = (
    f"must be 1 to {MODEL_NAME_LENGTH_MAX} letters, digits, `-`, `_` and `.`, the first of them a letter, digit or `_`"
)
SEGMENT_LENGTH_MAX = 128
KEY_RULE = (
    f"must be 1 to {KEY_LENGTH_MAX} characters: parts with `/` between them, each of 1 to {SEGMENT_LENGTH_MAX} "
    "letters, digits, `-`, `_` and `.`, the first of them a letter, digit or `_`"
)
DIGEST_RULE = "must be a BLAKE3 digest: 64 hexadecimal digits in lower case"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_PART = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{SEGMENT_LENGTH_MAX - 1}}}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_name(text: str) -> bool:
    """Whether a group, region or agent may be called so: see `NAME_RULE`."""
    return _NAME.fullmatch(text) is not None


def is_model_name(text: str) -> bool:
    """Whether a model may be called so: see `MODEL_NAME_RULE`. It is then safe as the name of a folder."""
    return len(text) <= MODEL_NAME_LENGTH_MAX and _PART.fullmatch(text) is not None


def is_key(text: str) -> bool:
    """Whether a document may be called so: see `KEY_RULE`. It is then a relative path that stays below its folder."""
    return len(text) <= KEY_LENGTH_MAX and all(_PART.fullmatch(part) for part in text.split("/"))


def is_digest(text: str) -> bool:
    """Whether it is a BLAKE3 digest as the log writes it: see `DIGEST_RULE`."""
    return _DIGEST.fullmatch(text) is not None
