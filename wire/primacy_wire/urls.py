"""What a URL in settings must be, whoever asks it. Light: agents read it."""

from __future__ import annotations

from urllib.parse import urlsplit


def fault_in(url: str, *schemes: str) -> str:
    """What is wrong with it, or nothing; it begins with one of `schemes` (`http`)."""
    begins = [f"{scheme}://" for scheme in schemes]
    if not url.startswith(tuple(begins)):
        return f"must be a URL that begins with {' or '.join(begins)}"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must have no spaces, and nothing but ASCII"
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            return "needs a host, and a port from 1 to 65535 if it names one"
    except ValueError as error:
        return str(error).lower()
    return ""
