"""Reads a metrics page in the Prometheus text format, as far as a probe asks for it.

The library that parses samples is loaded with the first page, and sees only the lines that are wanted: a page of many
thousand series costs little more than finding the few among them.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator, Sequence

from primacy_wire.clock import read_now

from primacy_agent.core.mapping import Mapped, PageSample, Unusable, pick
from primacy_agent.core.measuring import Readings, Sample, Window

LINE_BYTES_MAX = 8 * 1024
"""Of a wanted line: the library's time grows with the square of a line's length."""
WANTED_MAX = 10_000
"""Lines of one page that may be wanted."""
THREAD_BYTES = 64 * 1024
"""A longer page is read in a thread of its own, not on the loop that renews the lease."""
_SAMPLE = re.compile(rb"([a-zA-Z_:][a-zA-Z0-9_:]*)?[ \t]*(?:\{|[ \t][^ \t])")
"""How every sample begins; a name in quotes stands inside the braces."""


class Measuring:
    """Makes readings of the pages of one probe."""

    def __init__(self, wanted: Sequence[Mapped]) -> None:
        self._wanted = tuple(wanted)
        self._window = Window(self._wanted)

    async def take(self, page: bytes) -> Readings:
        """The readings with one more page. Raises Unusable; then what was read before is forgotten."""
        now_ns = read_now().mono_ns
        try:
            if len(page) > THREAD_BYTES:
                values = await asyncio.to_thread(read_page, page, self._wanted)
            else:
                values = read_page(page, self._wanted)
        except Unusable:
            self._window.forget()
            raise
        return self._window.after(Sample(now_ns, values))

    def forget(self) -> None:
        """The service could not be read: what comes next is compared with nothing from before."""
        self._window.forget()


def read_page(page: bytes, wanted: Sequence[Mapped]) -> dict[str, float]:
    """The wanted numbers of a page, by key. Raises Unusable."""
    return pick(_samples(page, {mapped.selector.name for mapped in wanted}), wanted)


def _samples(page: bytes, names: set[str]) -> Iterator[PageSample]:
    # Slow to load, and not every agent has a probe that needs it.
    from prometheus_client.parser import text_string_to_metric_families

    wanted = {name.encode() for name in names}
    count = 0
    for number, raw in enumerate(io.BytesIO(page), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        found = _SAMPLE.match(line)
        if found is None:
            raise _garbage(number, line, "no name and value")
        if found[1] is not None and found[1] not in wanted:
            continue
        if found[1] is None and not any(name in line for name in wanted):
            continue
        count += 1
        if count > WANTED_MAX:
            raise Unusable(f"more than {WANTED_MAX} samples are asked for: name fewer, or add labels")
        if len(line) > LINE_BYTES_MAX:
            raise _garbage(number, line, f"longer than {LINE_BYTES_MAX} bytes")
        try:
            for family in text_string_to_metric_families(line.decode()):
                for sample in family.samples:
                    yield sample.name, sample.labels, float(sample.value)
        except (ValueError, LookupError, OverflowError) as error:
            raise _garbage(number, line, str(error) or type(error).__name__) from error


def _garbage(number: int, line: bytes, what: str) -> Unusable:
    shown = line[:60].decode(errors="replace")
    return Unusable(f"not in the Prometheus text format: line {number}: {shown!r}: {what[:120]}")
