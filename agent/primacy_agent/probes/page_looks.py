"""Looks that measure: a metrics page over HTTP, and a program that may print one."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import replace

from primacy_agent import programs
from primacy_agent.core.mapping import Unusable
from primacy_agent.core.measuring import Condition
from primacy_agent.core.probing import Look
from primacy_agent.probes.exposition import Measuring
from primacy_agent.probes.http_get import HttpFailure, get
from primacy_agent.probes.messages import last_line, one_line
from primacy_agent.programs import Ended, How, NotStarted

OUTPUT_BYTES_MAX = 1024 * 1024
"""What a program may print during one look; one that prints more is killed."""


async def _measured(page: bytes, measuring: Measuring, condition: Condition | None, look: Look) -> Look:
    """A good look, with what the page says added to it."""
    try:
        readings = await measuring.take(page)
    except Unusable as error:
        return replace(look, good=False, message=one_line(str(error)))
    if condition is None:
        return replace(look, readings=readings)
    holds, why = condition.judge(readings)
    if holds is None:
        return replace(look, readings=readings, message=why, early=True)
    return replace(look, readings=readings, good=holds, message=look.message if holds else why)


class PrometheusLook:
    """Scrapes a page; good when all that is asked of it is there and the condition holds."""

    def __init__(self, url: str, measuring: Measuring, condition: Condition | None) -> None:
        self._url = url
        self._measuring = measuring
        self._condition = condition

    async def __call__(self, timeout_s: float) -> Look:
        began_ns = time.monotonic_ns()
        try:
            status, body = await get(self._url, timeout_s, body_wanted=True)
            if status != 200:
                raise HttpFailure(f"answered {status}")
        except HttpFailure as failure:
            self._measuring.forget()
            latency_ns = time.monotonic_ns() - began_ns
            return Look(False, one_line(str(failure)), certain=failure.refused, latency_ns=latency_ns)
        look = Look(True, latency_ns=time.monotonic_ns() - began_ns)
        return await _measured(body, self._measuring, self._condition, look)


class ExecLook:
    """Runs a program; exit code 0 is good, and its last line is the message."""

    def __init__(self, argv: Sequence[str], measuring: Measuring | None, condition: Condition | None) -> None:
        self._argv = tuple(argv)
        self._measuring = measuring
        self._condition = condition

    async def __call__(self, timeout_s: float) -> Look:
        began_ns = time.monotonic_ns()
        keep_bytes = OUTPUT_BYTES_MAX if self._measuring else 0
        try:
            ended = await programs.run(self._argv, timeout_s, keep_bytes=keep_bytes, bytes_max=OUTPUT_BYTES_MAX)
        except NotStarted as error:
            return self._failed(Look(False, one_line(str(error))))
        latency_ns = time.monotonic_ns() - began_ns
        # With series stdout is a page, and what people shall read is on stderr.
        said = last_line(ended.errors if self._measuring else ended.output)
        if trouble := _trouble(ended, timeout_s):
            message = f"{trouble}: {said}" if said else trouble
            return self._failed(Look(False, one_line(message), latency_ns=latency_ns))
        look = Look(True, said, latency_ns=latency_ns)
        if self._measuring is None:
            return look
        return await _measured(ended.output, self._measuring, self._condition, look)

    def _failed(self, look: Look) -> Look:
        if self._measuring is not None:
            self._measuring.forget()
        return look


def _trouble(ended: Ended, timeout_s: float) -> str:
    """What is wrong with how it ended, or nothing."""
    match ended.how:
        case How.TIMED_OUT:
            end = "was killed" if ended.reaped else "cannot be killed: the kernel holds it"
            return f"did not end within {timeout_s:g} s, and {end}"
        case How.TOO_MUCH:
            return f"printed more than {OUTPUT_BYTES_MAX} bytes, and was killed"
        case How.EXITED if ended.exit_code < 0:
            return f"was ended by {_signal(-ended.exit_code)}"
        case How.EXITED:
            return f"exited with {ended.exit_code}" if ended.exit_code else ""


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
