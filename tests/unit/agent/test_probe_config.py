"""Settings of probes: every kind knows its own keys only, and each fault names its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from primacy_agent.config import AgentConfig, load_config
from primacy_agent.core.mapping import Combine, Missing
from primacy_agent.core.selectors import Matcher, Selector
from primacy_agent.probe_config import ExecProbe, GrpcProbe, PrometheusProbe
from primacy_wire.settings import ConfigError


def read(tmp_path: Path, *probes: str, more: str = "") -> AgentConfig:
    file = tmp_path / "agent.yaml"
    file.write_text("region: eu\nprobes:\n" + "".join(f"  - {probe}\n" for probe in probes) + more)
    return load_config(str(file), {}, {})


def problems(tmp_path: Path, *probes: str, more: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, *probes, more=more)
    return [problem.replace(str(tmp_path / "agent.yaml"), "FILE") for problem in caught.value.problems]


HTTP = "{name: web, kind: http, url: 'http://h/'}"


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        ("{name: a, kind: tcp, address: 'h:1', url: 'http://h/'}", "probes[0].url: unknown key"),
        ("{name: a, kind: tcp}", "probes[0]: `address` is missing"),
        ("{name: a, kind: grpc, address: 'h:1', sevice: x}", "probes[0].sevice: unknown key (did you mean service?)"),
        ("{name: a, kind: grpc, address: here}", "probes[0].address: 'here' is not an address"),
        ("{name: a, kind: grpc, address: 'h:0'}", "probes[0].address: 'h:0': nobody can connect to port 0"),
        ("{name: a, kind: grpc, address: 'h:1', tls: {key: k}}", "probes[0].tls: certificate and key belong together"),
        ("{name: a, kind: grpc, address: 'h:1', tls: {cert: k}}", "probes[0].tls.cert: unknown key"),
        ("{name: a, kind: exec, argv: []}", "probes[0].argv: must name a program"),
        ("{name: a, kind: exec, argv: ['']}", "probes[0].argv: must name a program"),
        ("{name: a, kind: exec, argv: ls -l}", "probes[0].argv: expected `array`, got `str`"),
        ('{name: a, kind: exec, argv: ["a\\0b"]}', "probes[0].argv: must have no NUL"),
        ("{name: a, kind: prometheus, url: 'http://h/'}", "probes[0].series: must map at least one of requests"),
        ("{name: a, kind: prometheus, url: 'ftp://h/', series: {requests: r}}", "probes[0].url: must be a URL"),
    ],
)
def test_a_fault_is_named(probe: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(tmp_path, probe)
    assert found.startswith(f"FILE:3: {problem}")


@pytest.mark.parametrize(
    ("series", "problem"),
    [
        ("errors: e", "series.errors: means nothing without requests: map that, too"),
        ("seconds_sum: e", "series.seconds_sum: means nothing without seconds_count"),
        ("seconds_count: e", "series.seconds_count: means nothing without seconds_sum"),
        ("requests: r, request_rate: g", "series.request_rate: is already made of requests: map one or the other"),
        ("requests: r, errors: e, error_rate: g", "series.error_rate: is already made of requests and errors"),
        ("utilization: u", "series.utilization: did you mean utilisation?"),
        ("Queue: q", "series.Queue: must be one of requests, errors"),
        ("requests_per_second: q", "series.requests_per_second: is the name of a series that the agent makes itself"),
        ("requests: {series: r, rate: true}", "series.requests.rate: is for names of your own: requests counts up"),
        ("capacity: {series: r, rate: true}", "series.capacity.rate: is for names of your own: capacity is taken"),
        ("capacity: {series: r, scale: 0}", "series.capacity.scale: must be a finite number above 0"),
        ("capacity: {series: r, scale: .nan}", "series.capacity.scale: must be a finite number above 0"),
        ("capacity: {series: r, combine: median}", "series.capacity.combine: invalid enum value 'median'"),
        ("capacity: {series: r, ifMissing: zeros}", "series.capacity.ifMissing: invalid enum value 'zeros'"),
        ("capacity: {series: r, unit: s}", "series.capacity.unit: unknown key"),
        ("capacity: 80", "series.capacity: expected `str | object`, got `int`"),
        ("capacity: 'a b'", "series.capacity: 'a b': expected the end, or labels in braces at character 3"),
        ("capacity: ''", "series.capacity: '': expected the name of a series at character 1"),
        ("capacity: 'a{b=~\"(\"}'", "series.capacity: '(' is no regular expression"),
        ("capacity: c}, healthyWhen: {series: capacity", "healthyWhen: needs `below` or `above`"),
        ("capacity: c}, healthyWhen: {series: capacity, below: .inf", "healthyWhen: needs `below` or `above`"),
        ("capacity: c}, healthyWhen: {series: capacity, below: 1, above: 1", "healthyWhen: nothing is both"),
        (
            "capacity: c}, healthyWhen: {series: load, below: 1",
            "healthyWhen.series: 'load' is no reading of this probe",
        ),
        ("requests: c}, healthyWhen: {series: requests, below: 1", "healthyWhen.series: 'requests' is no reading"),
        (
            "my: {series: c, ifMissing: skip}}, healthyWhen: {series: my, below: 1",
            "series.my: cannot be skipped: healthyWhen asks for it",
        ),
        (", ".join(f"own_{n}: s" for n in range(65)), "series: at most 64 series for one probe"),
    ],
)
def test_a_fault_of_a_series_is_named(series: str, problem: str, tmp_path: Path) -> None:
    for kind in ("kind: exec, argv: [x]", "kind: prometheus, url: 'http://h/'"):
        (found,) = problems(tmp_path, f"{{name: a, {kind}, series: {{{series}}}}}")
        assert found.startswith(f"FILE:3: probes[0].{problem}")


@pytest.mark.parametrize(
    ("probes", "problem"),
    [
        (
            ("{name: s, kind: http, url: 'http://h/', smoke: true}",),
            "FILE:3: probes[0].smoke: a smoke probe runs beside",
        ),
        (
            (HTTP, "{name: s, kind: http, url: 'http://h/', smoke: true, instance: b}"),
            "FILE:4: probes[1].smoke: a smoke probe runs beside others: instance 'b' has no probe",
        ),
        (
            (HTTP, "{name: s, kind: http, url: 'http://h/', smoke: true, advisory: true}"),
            "FILE:4: probes[1].smoke: a smoke probe decides",
        ),
        (
            (
                "{name: m, kind: prometheus, url: 'http://h/', series: {capacity: c}}",
                HTTP.replace("}", ", smoke: true}"),
            ),
            "FILE:4: probes[1].smoke: a smoke probe runs beside",
        ),
        ((HTTP, HTTP.replace("http://h", "http://k")), "FILE:3: probes[0].name: 'web' is used twice"),
    ],
)
def test_a_fault_of_probes_together_is_named(probes: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    assert problems(tmp_path, *probes)[0].startswith(problem)


def test_the_metrics_url_is_a_probe_of_its_own(tmp_path: Path) -> None:
    more = (
        "metricsUrl: http://h/m\nmetricsNames: {in_flight: 'busy{of=\"web\"}', lag_seconds: behind, utilisation: ''}\n"
    )
    config = read(tmp_path, HTTP, more=more)
    web, page = config.all_probes
    assert isinstance(page, PrometheusProbe)
    assert (web.name, page.name, page.url, page.is_advisory) == ("web", "metrics-url", "http://h/m", True)
    mapped = {each.key: each for each in page.mapped()}
    assert mapped["in_flight"].selector == Selector("busy", (Matcher("of", "=", "web"),))
    assert mapped["lag_seconds"].combine is Combine.MAX
    assert mapped["requests"].selector.name == "demo_requests_total"
    assert "utilisation" not in mapped
    assert {each.missing for each in mapped.values()} == {Missing.SKIP}
    taken = "{name: metrics-url, kind: tcp, address: 'h:1'}"
    (found,) = problems(tmp_path, taken, more=more)
    assert found == "FILE:3: probes[0].name: is the name of the probe that metricsUrl stands for"
    (found,) = problems(tmp_path, HTTP, more="metricsUrl: http://h/m\nmetricsNames: {capacity: 'a{'}\n")
    assert found.startswith("FILE:5: metricsNames.capacity: 'a{': expected a label's name")


def test_defaults_are_what_most_mean(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        "{name: g, kind: grpc, address: 'h:1', service: shop.Cart, tls: {}}",
        "{name: e, kind: exec, argv: [check, --fast], series: {lag_seconds: l, in_flight: f, utilisation: u, own: o}}",
        "{name: p, kind: prometheus, url: 'http://h/', series: {own: o}, healthyWhen: {series: own, above: 0}}",
    )
    grpc, program, page = config.probes
    assert isinstance(grpc, GrpcProbe) and isinstance(program, ExecProbe)
    assert grpc.tls is not None and grpc.tls.client_tls().ca == ""
    assert [probe.target for probe in config.probes] == ["h:1/shop.Cart", "check --fast", "http://h/"]
    assert [probe.kind for probe in config.probes] == ["grpc", "exec", "prometheus"]
    assert [each.combine for each in program.mapped()] == [Combine.MAX, Combine.SUM, Combine.MEAN, Combine.SUM]
    assert [probe.is_advisory for probe in config.probes] == [False, False, False]
    assert page.rise == 2
