"""How a webhook's receiver knows that a message is from here, is whole, and is new.

`Primacy-Signature: t=1767225600,v1=<hex>`, the HMAC-SHA256, under the shared secret, of the seconds, a dot and the
body. The receiver makes the same, compares in constant time, and refuses what is older than a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac

HEADER = "Primacy-Signature"
SECRET_BYTES_MIN = 16


def sign(secret: bytes, body: bytes, seconds: int) -> str:
    """The header's value."""
    made = hmac.new(secret, b"%d.%s" % (seconds, body), hashlib.sha256).hexdigest()
    return f"t={seconds},v1={made}"


def is_signed(secret: bytes, body: bytes, header: str, now_seconds: int, age_seconds_max: int = 300) -> bool:
    """What a receiver does."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    seconds = parts.get("t", "")
    if not seconds.isascii() or not seconds.isdigit() or abs(now_seconds - int(seconds)) > age_seconds_max:
        return False
    return hmac.compare_digest(sign(secret, body, int(seconds)), header)
