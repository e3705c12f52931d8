"""Lists that come in pages, and watches that outlive the coordinator that they began with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from primacy_cli.failures import CommandFailed

if TYPE_CHECKING:
    import grpc

    from primacy_cli.session import Session

PAGE_SIZE_MAX = 200
"""So many fit into one message, also when each has much to say."""
RETRY_S = 0.5
T = TypeVar("T")


def all_pages(
    session: Session, method: grpc.UnaryUnaryMultiCallable[Any, Any], request: Any, field: str, limit: int = 0
) -> Any:
    """The first page with what the others have in `field` added, up to `limit` in all (0: everything).

    Raises CommandFailed. The answer's `next_page_token` is empty unless the limit left something out.
    """
    left = limit or PAGE_SIZE_MAX
    request.page_size = min(left, PAGE_SIZE_MAX)
    response = session.ask(method, request)
    found = getattr(response, field)
    while response.next_page_token and (not limit or len(found) < limit):
        request.page_token = response.next_page_token
        # A token is good for any size of page: the last one asks for no more than is missing.
        request.page_size = min(limit - len(found), PAGE_SIZE_MAX) if limit else PAGE_SIZE_MAX
        page = session.ask(method, request)
        found.extend(getattr(page, field))
        response.next_page_token = page.next_page_token
    return response


def watched(session: Session, begin: Callable[[], Iterator[T]], at_agent: bool = False) -> Iterator[T]:
    """What a watch sends, for ever: begun again when the coordinator, or agent, went away. Raises CommandFailed.

    A failure before the first message is raised: then nobody was there, or the watch is refused.
    """
    began = away = False
    who, address = ("agent", session.agent) if at_agent else ("coordinator", session.address)
    while True:
        try:
            with session.failures(at_agent):
                for message in begin():
                    if away:
                        session.note(f"the {who} answers again")
                    began, away = True, False
                    yield message
        except CommandFailed as failed:
            if not (began and failed.lost):
                raise
        if not away:
            session.note(f"the {who} at {address} is gone; this goes on when it is back (Ctrl-C ends it)")
        away = True
        time.sleep(RETRY_S)
