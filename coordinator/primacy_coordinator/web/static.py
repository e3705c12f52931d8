"""The dashboard's files, read once at start and served from memory, compressed as the build left them.

What has a hash in its name never changes, so browsers keep it for good; the page itself is asked for each time, and
answered with 304 while it is the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).with_name("assets")
PAGE = "index.html"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
"""What the build compresses, best first: name in HTTP, end of the file's name."""
UNSERVED = frozenset({"bundle.json"})
"""Of the build, and nobody else's business."""

_HASHED = re.compile(r"-[A-Z0-9]{8}\.[a-z0-9]+$")
_FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and compressed."""

    content_type: str
    kept: str
    """`Cache-Control`."""
    bodies: Mapping[str, tuple[bytes, str]]
    """By encoding ("" for none): body and strong ETag."""

    def answer(self, request: Request) -> Response:
        """200, or 304 when the browser has it already."""
        encoding = self._encoding(request.headers.get("accept-encoding", ""))
        body, tag = self.bodies[encoding]
        headers = {"ETag": tag, "Cache-Control": self.kept, "Vary": "Accept-Encoding"}
        if tag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        headers["Content-Type"] = self.content_type
        if encoding:
            headers["Content-Encoding"] = encoding
        return Response(body, headers=headers)

    def _encoding(self, accepted: str) -> str:
        accepts = accepted_encodings(accepted)
        return next((name for name, _ in ENCODINGS if name in self.bodies and name in accepts), "")


def load_assets(folder: Path = FOLDER) -> dict[str, Asset]:
    """Every file of the bundle by its name; none when there is no bundle."""
    if not (folder / PAGE).is_file():
        return {}
    return {
        path.name: _load(path)
        for path in sorted(folder.iterdir())
        if path.suffix in TYPES and path.name not in UNSERVED and path.is_file()
    }


def accepted_encodings(header: str) -> set[str]:
    """Of an `Accept-Encoding`, those that are named and not refused."""
    return {name for name, weight in map(_weighted, header.split(",")) if weight > 0}


def _load(path: Path) -> Asset:
    bodies = {"": _tagged(path.read_bytes())}
    for name, end in ENCODINGS:
        compressed = path.with_name(path.name + end)
        if compressed.is_file():
            bodies[name] = _tagged(compressed.read_bytes())
    kept = _FOREVER if _HASHED.search(path.name) else "no-cache"
    return Asset(TYPES[path.suffix], kept, bodies)


def _tagged(body: bytes) -> tuple[bytes, str]:
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _weighted(part: str) -> tuple[str, float]:
    """`br;q=0.5` is ("br", 0.5)."""
    name, _, parameters = part.partition(";")
    _, _, weight = parameters.partition("q=")
    try:
        return name.strip().lower(), float(weight) if weight else 1.0
    except ValueError:
        return name.strip().lower(), 0.0


def _tags(header: str) -> set[str]:
    """The ETags of an `If-None-Match`; a proxy that compressed anew has marked one as weak."""
    return {tag.strip().removeprefix("W/") for tag in header.split(",")}
