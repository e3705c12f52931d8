"""What groups, regions and agents may be called."""

from __future__ import annotations

import re

DEFAULT_GROUP = "default"
NAME_RULE = (
    "must be 1 to 63 of lower-case letters, digits, `-`, `_` and `.`, the first and last of them a letter or digit"
)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


def is_name(text: str) -> bool:
    """Whether a group, region or agent may be called so: see `NAME_RULE`."""
    return _NAME.fullmatch(text) is not None
