"""Selectors, and the few numbers that are picked from a metrics page, however strange the page is."""

from __future__ import annotations

import contextlib
import math
import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.core.mapping import Combine, Mapped, Missing, Unusable, pick
from primacy_agent.core.selectors import Matcher, Selector, SelectorError, parse_selector
from primacy_agent.probes import exposition
from primacy_agent.probes.exposition import Measuring, read_page
from prometheus_client.parser import text_string_to_metric_families


def fits(selector: str, name: str = "s", **labels: str) -> bool:
    return parse_selector(selector).fits(name, labels)


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("s", {"a": "1"}, True),
        ("t", {}, False),
        ("s{}", {}, True),
        ('s{a="1"}', {"a": "1"}, True),
        ('s{a="1"}', {"a": "12"}, False),
        ('s{a="1"}', {}, False),
        ('s{a=""}', {}, True),
        ('s{a!="1"}', {}, True),
        ('s{a!="1"}', {"a": "1"}, False),
        ('s{a=~"5.."}', {"a": "503"}, True),
        ('s{a=~"5.."}', {"a": "5034"}, False),
        ('s{a=~"x|y"}', {"a": "y"}, True),
        ('s{a!~"5.."}', {"a": "503"}, False),
        ('s{a!~"5.."}', {}, True),
        (' s { a = "1" , b != "2" , } ', {"a": "1", "b": "3"}, True),
        ("s{a='it\"s'}", {"a": 'it"s'}, True),
        (r's{a="q\"\\\n"}', {"a": 'q"\\\n'}, True),
        (r's{a=~"\d+"}', {"a": "42"}, True),
        (r's{a=~"\\d+"}', {"a": "42"}, True),
        ('s{a="}",b="{"}', {"a": "}", "b": "{"}, True),
    ],
)
def test_a_selector_fits_as_in_promql(selector: str, labels: dict[str, str], expected: bool) -> None:
    assert fits(selector, **labels) is expected


@pytest.mark.parametrize(
    "text",
    ["", "{}", "9a", "a b", "a{", "a{b}", "a{b=}", "a{b=1}", 'a{b="}', 'a{b="1"c="2"}', "a{b~'x'}", "a}", "a" * 1001],
)
def test_what_is_no_selector_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(SelectorError, match=r"expected|at most"):
        parse_selector(text)


@given(
    st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]*", fullmatch=True), st.text()),
    st.sampled_from(["=", "!=", "=~", "!~"]),
)
def test_any_labels_can_be_written_as_a_selector(labels: dict[str, str], operator: str) -> None:
    def quoted(value: str) -> str:
        text = re.escape(value) if "~" in operator else value
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    text = "s{" + ",".join(f"{label}{operator}{quoted(value)}" for label, value in labels.items()) + "}"
    if len(text) > 1000:
        return
    selector = parse_selector(text)
    assert all(matcher.fits(labels) is not operator.startswith("!") for matcher in selector.matchers)
    assert len(selector.matchers) == len(labels)


@given(st.text(alphabet="ab{}=~!\",\\ \n'(*", max_size=30))
def test_no_text_breaks_the_reader_of_selectors(text: str) -> None:
    with contextlib.suppress(SelectorError):
        selector = parse_selector(text)
        assert text.strip().startswith(selector.name)
        assert selector.fits("no such name", {"b": "a"}) is False


# ---- picking


def mapped(key: str, selector: str = "s", **more: object) -> Mapped:
    return Mapped(key, parse_selector(selector), **more)  # type: ignore[arg-type]


PAGE = b"""# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{code="200",path="/a b",brace="}"} 3
http_requests_total{code="503",path="/c"} 4 1700000000000
http_requests_total_more 99
behind_ms{replica="1"} 1500
behind_ms{replica="2"} 250
busy 5e-1
"""


def test_samples_are_chosen_by_name_and_labels_combined_and_scaled() -> None:
    wanted = [
        mapped("requests", "http_requests_total", counter=True),
        mapped("errors", 'http_requests_total{code=~"5.."}', counter=True),
        mapped("lag_seconds", "behind_ms", scale=0.001, combine=Combine.MAX),
        mapped("least", "behind_ms", combine=Combine.MIN),
        mapped("mean", "behind_ms", combine=Combine.MEAN),
        mapped("utilisation", "busy"),
        mapped("none_yet", 'http_requests_total{code="429"}', missing=Missing.ZERO),
        mapped("unknown", "no_such", missing=Missing.SKIP),
    ]
    assert read_page(PAGE, wanted) == {
        "requests": 7,
        "errors": 4,
        "lag_seconds": 1.5,
        "least": 250,
        "mean": 875,
        "utilisation": 0.5,
        "none_yet": 0,
    }


@pytest.mark.parametrize(
    ("page", "wanted", "why"),
    [
        (b"t 1", mapped("x"), "there is no series s for x"),
        (b"s 1", mapped("x", 's{a="1"}'), "there is no series s with these labels for x"),
        (b"", mapped("x"), "there is no series s for x"),
        (b"s NaN", mapped("x"), "s is nan, which is no number for x"),
        (b's{a="1"} 1\ns{a="2"} NaN', mapped("x"), "s is nan"),
        (b"s +Inf", mapped("x", missing=Missing.ZERO), "s is inf"),
        (b"s -1", mapped("capacity"), "capacity is -1: must be 0 or more"),
        (b"s -1", mapped("own", counter=True), "own is -1: must be 0 or more"),
        (b"s -1", mapped("lag_seconds"), "lag_seconds is -1: must be 0 or more"),
        (b"s 5", mapped("error_rate"), r"error_rate is 5: must be from 0 to 1 \(a percentage needs `scale: 0.01`\)"),
        (b's{a="1"} 1e308\ns{a="2"} 1e308', mapped("x"), "x is too large"),
        (b"<html><body>Login</body></html>", mapped("x"), "not in the Prometheus text format: line 1: '<html>"),
        (b"\x00\x01\xff", mapped("x"), "not in the Prometheus text format: line 1"),
        (b'{"status": "ok"}', mapped("x"), "not in the Prometheus text format: line 1: '{\"status"),
        (b"ok\n", mapped("x"), "not in the Prometheus text format: line 1: 'ok': no name and value"),
        (b"t 1\ns one\n", mapped("x"), "line 2: 's one'"),
        (b"s{a=1} 1", mapped("x"), "line 1: 's{a=1} 1'"),
        (b's{a="\xff"} 1', mapped("x"), "line 1"),
        (b's{a="' + b"x" * 20_000 + b'"} 1', mapped("x"), "longer than 8192 bytes"),
        (b"s " + b"9" * 400, mapped("x"), "s is inf|int too large"),
    ],
)
def test_a_page_that_does_not_give_what_is_asked_says_why(page: bytes, wanted: Mapped, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        read_page(page, [wanted])


def test_skipped_samples_and_clock_skew_are_no_failures() -> None:
    assert read_page(b's{a="1"} 3\ns{a="2"} NaN\n', [mapped("x", missing=Missing.SKIP)]) == {"x": 3}
    assert read_page(b"s NaN", [mapped("x", missing=Missing.SKIP)]) == {}
    assert read_page(b"s -0.4", [mapped("lag_seconds")]) == {"lag_seconds": 0}
    assert read_page(b"s -40", [mapped("temperature")]) == {"temperature": -40}
    assert read_page(b'{"s",a="1"} 3', [mapped("x")]) == {"x": 3}


def test_too_many_wanted_samples_are_refused_and_others_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "WANTED_MAX", 100)
    many = b"".join(b't{n="%d"} 1\n' % n for n in range(1000))
    wanted = b"".join(b's{n="%d"} 1\n' % n for n in range(100))
    assert read_page(many + wanted, [mapped("x")]) == {"x": 100}
    with pytest.raises(Unusable, match="more than 100 samples are asked for"):
        read_page(many + wanted + b"s 1", [mapped("x")])


async def test_a_long_page_is_read_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []
    honest = read_page

    def watched(*given: object) -> dict[str, float]:
        threads.append(threading.current_thread() is threading.main_thread())
        return honest(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(exposition, "read_page", watched)
    measuring = Measuring([mapped("x")])
    filling = b"t 1\n" * (exposition.THREAD_BYTES // 4)
    assert (await measuring.take(b"s 1\n")).values == {"x": 1}
    assert (await measuring.take(filling + b"s 2\n")).values == {"x": 2}
    assert threads == [True, False]


# ---- properties

NAMES = st.sampled_from(["s", "s_total", "s:rate", "t"])
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.text(alphabet='x1}{,"\\\n =#', max_size=5), max_size=2)
VALUES = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9)
SAMPLES = st.lists(st.tuples(NAMES, LABELS, VALUES), max_size=12)


def rendered(samples: list[tuple[str, dict[str, str], float]]) -> str:
    lines = []
    for name, labels, value in samples:
        escaped = {
            key: text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for key, text in labels.items()
        }
        inside = ",".join(f'{key}="{text}"' for key, text in escaped.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "".join(f"{line}\n" for line in lines)


@given(samples=SAMPLES, selector=st.sampled_from(["s", "t", 's{a="x"}', 's_total{a!~"1+"}', 's{a="",b!="x"}']))
def test_a_page_gives_what_the_library_would_give_of_all_of_it(
    samples: list[tuple[str, dict[str, str], float]], selector: str
) -> None:
    text = rendered(samples)
    all_of_it = [s for family in text_string_to_metric_families(text) for s in family.samples]
    chosen = parse_selector(selector)
    expected = [s.value for s in all_of_it if chosen.fits(s.name, s.labels)]
    for combine, twin in ((Combine.SUM, sum), (Combine.MAX, max), (Combine.MIN, min)):
        found = read_page(text.encode(), [mapped("x", selector, combine=combine, missing=Missing.SKIP)])
        assert found == ({"x": pytest.approx(twin(expected))} if expected else {})


WANTED = [
    mapped("requests", "s_total", counter=True),
    mapped("lag_seconds", "s", combine=Combine.MAX, missing=Missing.ZERO),
    mapped("own", 't{a=~"x.*"}', missing=Missing.SKIP, scale=1e300),
]


def never_breaks(page: bytes) -> None:
    try:
        values = read_page(page, WANTED)
    except Unusable:
        return
    assert all(math.isfinite(value) for value in values.values())
    assert values["requests"] >= 0
    assert values["lag_seconds"] >= 0


@given(page=st.binary(max_size=200))
def test_no_bytes_break_the_reader(page: bytes) -> None:
    never_breaks(page)
    never_breaks(b"s_total " + page)
    never_breaks(b"s_total{" + page + b"} 1")


@given(
    line=st.text(alphabet='s_total{}="\\, \t#a01eE+-.NInfx\n\r{', max_size=60),
    samples=SAMPLES,
    at=st.integers(0, 400),
    what=st.text(alphabet='{}="\\, \n#~19eN', max_size=4),
)
def test_no_page_that_almost_is_one_breaks_the_reader(
    line: str, samples: list[tuple[str, dict[str, str], float]], at: int, what: str
) -> None:
    never_breaks(line.encode())
    text = rendered(samples)
    never_breaks((text[:at] + what + text[at:]).encode())
    never_breaks(text.encode()[:at])


@given(SAMPLES, st.sampled_from(list(Combine)))
def test_picking_needs_no_text(samples: list[tuple[str, dict[str, str], float]], combine: Combine) -> None:
    having = [value for name, _, value in samples if name == "t"]
    found = pick(samples, [Mapped("own", Selector("t"), combine=combine, missing=Missing.SKIP)])
    assert ("own" in found) is bool(having)
    if having and combine is not Combine.SUM:
        assert min(having) - 1e-6 <= found["own"] <= max(having) + 1e-6


def test_a_matcher_says_what_it_is() -> None:
    assert parse_selector('s{a=~"1"}') == Selector("s", (Matcher("a", "=~", "1"),))
