"""What `primacy watch` shows: a live screen, lines, or JSON. None of them asks or waits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType

import click
from primacy.v1 import election_pb2, override_pb2, region_pb2
from primacy.v1.status_service_pb2 import GetStatusResponse
from rich.console import Console
from rich.live import Live
from rich.text import Text

from primacy_cli.missed import missed_text
from primacy_cli.prices import price_text
from primacy_cli.session import Session
from primacy_cli.tables import Renderable, Safe, safe_text
from primacy_cli.watch_screen import Details, WatchScreen
from primacy_cli.words import clock, span, word


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest answer, and whether it is still how things are."""

    status: GetStatusResponse
    at_s: float
    """When it came, by the monotonic clock."""
    fault: str = ""
    """Why nothing newer came. Empty: the newest look was answered."""
    details: Details = Details()
    """What only the live screen shows."""

    def lost(self, fault: str) -> Seen:
        return replace(self, fault=fault)

    def age_ns(self, now_s: float) -> int:
        return max(0, round((now_s - self.at_s) * 1e9))


class _View:
    redraw_s = 3600.0
    """How often it wants to be drawn between looks."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def draw(self, seen: Seen, now_s: float) -> None:
        """Time has passed."""


class LiveScreen(_View):
    """Drawn anew in place, with countdowns that run."""

    redraw_s = 0.25

    def __init__(self, address: str, events: int) -> None:
        self._address = address
        self._events = events
        self._live = Live(console=Console(highlight=False), auto_refresh=False, screen=True, vertical_overflow="crop")

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def looked(self, seen: Seen) -> None:
        self.draw(seen, time.monotonic())

    def draw(self, seen: Seen, now_s: float) -> None:
        self._live.update(Safe(screen(seen, now_s, self._address, self._events)), refresh=True)


def screen(seen: Seen, now_s: float, address: str, events: int) -> Renderable:
    """What is known, under a line that says how old it is."""
    age_ns = seen.age_ns(now_s)
    if seen.fault:
        head = Text(f"STALE: {seen.fault}. What follows was so {span(_whole(age_ns))} ago.", style="bold red reverse")
    else:
        head = Text(f"{address}, {datetime.now(UTC).astimezone():%H:%M:%S}. Ctrl-C ends this.", style="dim")
        head.no_wrap, head.overflow = True, "ellipsis"  # A fault may fold; this is not worth a line.
    return WatchScreen(head, seen.status, seen.details, events, age_ns, bool(seen.fault))


def _whole(age_ns: int) -> int:
    """Whole seconds, or what ticks by would flicker."""
    return age_ns // 1_000_000_000 * 1_000_000_000


class PlainLines(_View):
    """A line for each event, and one for the state of the group whenever that is another."""

    def __init__(self, address: str, events: int) -> None:
        self._address = address
        self._events = events
        self._sequence: int | None = None
        self._state = ""
        self._fault = ""

    def looked(self, seen: Seen) -> None:
        if seen.fault:
            if not self._fault:
                click.echo(f"STALE: {seen.fault}; what stands above is the last that is known")
            self._fault = seen.fault
            return
        if self._fault:
            click.echo(f"the coordinator at {self._address} answers again")
        self._fault = ""
        status = seen.status
        newest = max((event.sequence for event in status.events), default=0)
        if self._sequence is None or newest < self._sequence:  # The first look, or another journal.
            fresh = list(status.events)[: self._events]
        else:
            fresh = [event for event in status.events if event.sequence > self._sequence]
            if missed := missed_text(fresh, self._sequence):
                click.echo(missed)
        self._sequence = newest
        for event in reversed(fresh):
            click.echo(f"{clock(event.time)}  {safe_text(event.message)}")
        state = state_line(status)
        if state != self._state:
            click.echo(state)
        self._state = state


def state_line(status: GetStatusResponse) -> str:
    """The group in one line, without anything that changes by itself."""
    lease = f"{status.active_region} is active at epoch {status.lease.accepted_epoch}"
    parts = [lease if status.active_region else "no region is active"]
    if status.HasField("failover"):
        move = status.failover
        price = f" ({price_text(move.price)})" if move.HasField("price") else ""
        state = word(election_pb2.FailoverState, move.state).lower().replace("_", " ")
        parts.append(f"move {move.id} to {move.to_region or '?'} is {state}{price}")
    parts.append(", ".join(_region_words(region) for region in status.regions) or "no regions")
    if status.overrides:
        kinds = (
            f"{word(override_pb2.OverrideKind, each.kind).lower()} {each.region}".rstrip() for each in status.overrides
        )
        parts.append(f"overrides: {', '.join(kinds)}")
    if status.HasField("self_doubt"):
        parts.append(f"self-doubt {status.self_doubt.name}")
    if status.HasField("doubt"):
        parts.append(f"doubt: {status.doubt.reason}")
    if status.panic:
        parts.append("panic: reads ignore health")
    return "; ".join(parts)


def _region_words(region: region_pb2.Region) -> str:
    notes = [word(region_pb2.RegionStatus, region.status) or "UNKNOWN"]
    if region.drain_state not in (override_pb2.DRAIN_STATE_UNSPECIFIED, override_pb2.DRAIN_STATE_NONE):
        notes.append(word(override_pb2.DrainState, region.drain_state))
    if region.cordoned:
        notes.append("CORDONED")
    return f"{region.name} {'+'.join(notes)}"


class JsonLines(_View):
    """The whole status at each look that was answered, one document each."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fault = ""

    def looked(self, seen: Seen) -> None:
        if seen.fault:
            if not self._fault:
                self._session.note(f"stale: {seen.fault}")
        else:
            self._session.print_message(seen.status, one_line=True)
        self._fault = seen.fault
