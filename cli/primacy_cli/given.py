"""Documents as they are given on the command line: the text itself, `@FILE`, or `-` for standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from primacy_cli.failures import USAGE, CommandFailed

SUFFIXES = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


def content_of(value: str) -> bytes:
    """Raises CommandFailed for what cannot be read, or is larger than any document."""
    from primacy_wire.log_messages import CONTENT_BYTES_MAX

    # No more is read than is needed to see that it is too much.
    count = CONTENT_BYTES_MAX + 1
    if value == "-":
        content = sys.stdin.buffer.read(count)
    elif value.startswith("@"):
        try:
            with Path(value[1:]).open("rb") as file:
                content = file.read(count)
        except OSError as error:
            raise CommandFailed(f"{value[1:]}: {error.strerror}", USAGE, "name a file that can be read") from error
    else:
        content = value.encode(errors="surrogateescape")
    if len(content) > CONTENT_BYTES_MAX:
        raise CommandFailed(
            f"{name_of(value)} is larger than {CONTENT_BYTES_MAX:,} bytes, the most that a document may have",
            USAGE,
            "push it as a model (`primacy model push`), or split it",
        )
    return content


def name_of(value: str) -> str:
    """What to call it in messages."""
    return "standard input" if value == "-" else value[1:] if value.startswith("@") else "the document"


def format_for(key: str, value: str, wanted: str | None = None) -> str:
    """`json` or `yaml`: as wanted, as the key ends, as the file ends; YAML holds both."""
    if wanted:
        return wanted
    for name in (key, value if value.startswith("@") else ""):
        found = SUFFIXES.get(Path(name).suffix.lower())
        if found:
            return found
    return "yaml"


def check_document(content: bytes, form: str, name: str) -> None:
    """Say what is wrong, and in which file, before anybody is asked. Raises CommandFailed."""
    from primacy_wire.documents import BadDocument, read

    try:
        read(content, form, name)
    except BadDocument as error:
        raise CommandFailed(str(error), USAGE, f"mend it: it is read as {form.upper()}") from error
