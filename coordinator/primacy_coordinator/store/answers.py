"""How a store's thread answers on the event loop's."""

from __future__ import annotations

import asyncio
from typing import Any


def resolve(future: asyncio.Future[Any], value: object, error: Exception | None) -> None:
    """Called on the loop's thread."""
    if future.done():
        return  # Whoever asked has given up.
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
