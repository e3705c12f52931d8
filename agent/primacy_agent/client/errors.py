"""What the client raises."""

from __future__ import annotations


class ClientError(Exception):
    """Something that the client was asked for cannot be had.

    ClientError
    +-- NotReady     the agent has not answered yet
    +-- NoRegion     there is nowhere to send the request now: try again
    +-- NoDocument   there is no document of that key
    +-- Closed       the client was closed
    `-- Forked       the client was made in another process
    """


class NotReady(ClientError):
    """The message says what stands in the way."""


class NoRegion(ClientError):
    """No weights are known yet, every region is drained or, for a write, no region is active."""


class NoDocument(ClientError):
    """The message names the key."""


class Closed(ClientError):
    """`close` was called."""


class Forked(ClientError):
    """Threads and connections do not survive a fork: make a client in each process, after the fork."""

    def __init__(self) -> None:
        super().__init__("this client was made before the process forked: make a new one in the child")
