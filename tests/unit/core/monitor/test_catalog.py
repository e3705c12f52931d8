"""Built-in alerts: their page says what they say, and every one of them can happen."""

from __future__ import annotations

import re
from pathlib import Path

from primacy_coordinator.core.monitor.alerts import builtin, conditions, facts
from primacy_coordinator.core.monitor.alerts.catalog import BUILT_IN, BURNS, BuiltIn
from primacy_coordinator.core.monitor.alerts.templates import faults
from primacy_coordinator.core.monitor.checking import is_series
from primacy_coordinator.sinks.signature import is_signed, sign

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "alerts.md").read_text()


def _length(rule: BuiltIn) -> str:
    seconds = rule.for_ns // 10**9
    if seconds == 0:
        return "at once"
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min"


def test_the_page_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| \w+, .* \| .* \|$", PAGE, re.MULTILINE)
    assert rows == [rule.name for rule in BUILT_IN]
    for rule in BUILT_IN:
        advice = rule.advice.replace("{region}", "REGION")
        assert f"| `{rule.name}` | {rule.meaning} | {rule.severity.name.lower()}, {_length(rule)} | {advice} |" in PAGE


def test_each_has_words_and_a_place_where_it_is_found() -> None:
    sources = "".join(Path(module.__file__ or "").read_text() for module in (builtin, conditions, facts))
    shell = (ROOT / "coordinator/primacy_coordinator/shell/alerting.py").read_text()
    for rule in BUILT_IN:
        assert rule.meaning.endswith(".") and rule.advice.endswith(".") and not faults(rule.advice)
        known = rule.name in {burn.rule for burn in BURNS}
        assert known or f'"{rule.name}"' in sources + shell, rule.name


def test_paces_are_those_of_the_workbook() -> None:
    hour = 3600 * 10**9
    found = [(burn.factor, burn.long_ns // hour, burn.long_ns // burn.short_ns) for burn in BURNS]
    assert found == [(14.4, 1, 12), (6.0, 6, 12), (1.0, 72, 12)]


def test_the_pages_receiver_knows_our_signature() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    check = names["is_from_primacy"]
    assert callable(check)
    import time

    now = int(time.time())
    header = sign(b"0123456789abcdef", b"{}", now)
    assert check(b"0123456789abcdef", header, b"{}") and is_signed(b"0123456789abcdef", b"{}", header, now)
    assert not check(b"0123456789abcdef", header, b"{ }")
    assert not check(b"0123456789abcdef", sign(b"0123456789abcdef", b"{}", now - 3600), b"{}")
    for nonsense in ("", "v1", "t=,v1=", "t=x,v1=ü", f"v1=00,t={now}", header.upper()):
        assert not check(b"0123456789abcdef", nonsense, b"{}"), nonsense


def test_names_of_series() -> None:
    for good in ("error_rate", 'jobs{queue="low"}', "a:b.c", "x" * 256):
        assert is_series(good), good
    for bad in ("", "a b", "1a", "a{", "a}b", "a\n", "x" * 257, "a{b{c}}"):
        assert not is_series(bad), bad
