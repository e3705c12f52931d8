"""Clock, backoff, names and log lines."""

from __future__ import annotations

import io
import json
import logging
import random
import time
from collections.abc import Iterator

import pytest
from primacy_wire import json_log
from primacy_wire.backoff import Backoff
from primacy_wire.clock import boot_id, read_now
from primacy_wire.names import is_name


def test_the_clocks_are_boottime_and_utc() -> None:
    before = (time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
    now = read_now()
    after = (time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.time_ns())
    assert before[0] <= now.mono_ns <= after[0]
    assert before[1] <= now.wall_ns <= after[1]
    assert len(boot_id()) == 36


def test_backoff_doubles_up_to_its_most_and_jitters_fully() -> None:
    class Most(random.Random):
        def randint(self, a: int, b: int) -> int:
            assert a == 0
            return b

    backoff = Backoff(Most(), 100, 1_000)
    assert [backoff.next_ns() for _ in range(6)] == [100, 200, 400, 800, 1_000, 1_000]
    backoff.reset()
    assert backoff.next_ns() == 100
    drawn = Backoff(random.Random(1), 100, 100)
    assert {drawn.next_ns() for _ in range(5_000)} == set(range(101))
    with pytest.raises(ValueError, match="backoff needs"):
        Backoff(random.Random(1), 0, 5)


@pytest.mark.parametrize("name", ["a", "us-east", "eu.west_1", "0", "a" * 63])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a-", "a/b", "a\n", "ä", "a" * 64, "."])
def test_what_is_no_name(name: str) -> None:
    assert not is_name(name)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def _fail() -> None:
    raise ZeroDivisionError("by zero")


def _say(root: logging.Logger, json_lines: bool) -> str:
    stream = io.StringIO()
    json_log.setup("info", json_lines, stream)
    logger = logging.getLogger("primacy.test")
    logger.debug("unheard")
    try:
        _fail()
    except ZeroDivisionError:
        logger.exception("region %s\nfailed", "eu", extra={"region": "eu", "epoch": 7})
    return stream.getvalue()


def test_a_json_line_is_one_object_with_the_extra_fields(root: logging.Logger) -> None:
    (line,) = _say(root, json_lines=True).splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found.pop("exception").endswith("ZeroDivisionError: by zero")
    assert found == {
        "level": "ERROR",
        "logger": "primacy.test",
        "message": "region eu\nfailed",
        "region": "eu",
        "epoch": 7,
    }


def test_a_text_line_ends_with_the_extra_fields(root: logging.Logger) -> None:
    text = _say(root, json_lines=False)
    assert " ERROR   primacy.test: region eu\nfailed region=eu epoch=7\n" in text
    assert text.endswith("ZeroDivisionError: by zero\n")


def test_an_unknown_level_is_refused(root: logging.Logger) -> None:
    with pytest.raises(ValueError, match="LOUD"):
        json_log.setup("loud")
