"""Settings are checked together, and every problem names its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from primacy_agent.config import load_config
from primacy_agent.main import _flags, _parser
from primacy_wire.settings import ConfigError


def problems(text: str, tmp_path: Path, environ: dict[str, str] | None = None, **flags: str) -> list[str]:
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(str(file), environ or {}, {name.replace("__", "."): value for name, value in flags.items()})
    return [problem.replace(str(file), "FILE") for problem in caught.value.problems]


def test_a_region_is_all_that_must_be_said() -> None:
    config = load_config(None, {}, {"region": "eu"})
    assert (config.grpc.address, config.http.address, config.name) == ("127.0.0.1:7410", "127.0.0.1:7490", "agent-1")
    assert config.coordinators == ["127.0.0.1:7400"]


def test_flags_become_settings() -> None:
    words = "--region eu --name two --coordinator h:1 --coordinator h:2 --grpc 127.0.0.1:5 --state-dir d"
    words += " --release-on-stop --insecure --set log.format=json --set metricsUrl=http://h/x?a=b"
    arguments = _parser().parse_args(words.split(" "))
    config = load_config(None, {}, _flags(arguments))
    assert config.coordinators == ["h:1", "h:2"]
    assert (config.name, config.release_on_stop, config.insecure) == ("two", True, True)
    assert (config.log.format.value, config.metrics_url) == ("json", "http://h/x?a=b")


def test_a_setting_on_the_command_line_needs_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _parser().parse_args(["--set", "capacity"])
    assert ended.value.code == 2
    assert "'capacity' must be KEY=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("region: eu\nweigth: 3\n", "FILE:2: weigth: unknown key"),
        ("region: eu\nprobes:\n - {name: a, kind: smoke}\n", "FILE:3: probes[0].kind: "),
        ("region: eu\nprobes:\n - name: a\n   kind: http\n   url: ftp://x\n", "FILE:5: probes[0].url: must be a URL"),
        ("region: eu\nprobes:\n - {name: a, kind: tcp, address: here}\n", "FILE:3: probes[0].address: 'here'"),
        ("region: eu\nprobes:\n - {name: a, kind: process}\n", "FILE:3: probes[0]: a process probe needs one of"),
        ("region: eu\nprobes:\n - {name: a, kind: process, listen: 1, command: x}\n", "FILE:3: probes[0]: a process"),
        ("region: eu\nprobes:\n - {name: a, kind: tcp, address: 'h:1', fall: 0}\n", "FILE:3: probes[0].fall: "),
        ("region: eu\nprobes:\n - {name: a, kind: tcp, address: 'h:1', interval: 0s}\n", "FILE:3: probes[0]: interval"),
        ("region: US East\n", "FILE:1: region: 'US East': must be"),
        ("region: ''\n", "FILE:1: region: '': must be"),
        ("region: eu\nlatitude: 91\nlongitude: 0\n", "FILE:2: latitude: must be from -90 to 90"),
        ("region: eu\nlatitude: .nan\nlongitude: 0\n", "FILE:2: latitude: must be from -90 to 90"),
        ("region: eu\nlongitude: 3\n", "FILE:2: longitude: give both"),
        ("region: eu\ncapacity: .inf\n", "FILE:2: capacity: must be a finite number"),
        ("region: eu\ncapacity: -1\n", "FILE:2: capacity: must be a finite number"),
        ("region: eu\ncoordinators: ['nowhere']\n", "FILE:2: coordinators[0]: 'nowhere' is not an address"),
        ("region: eu\ncoordinators: []\n", "FILE:2: coordinators: name at least one"),
        ("region: eu\nendpoint: 'h:0'\n", "FILE:2: endpoint: 'h:0' is not an endpoint: the port must be 1 to 65535"),
        ("region: eu\nendpoint: 'a b:80'\n", "FILE:2: endpoint: 'a b:80' is not an endpoint: 'a b' is not a host"),
        (
            "region: eu\nendpoint: 'unix:/run/x'\n",
            "FILE:2: endpoint: 'unix:/run/x' is not an endpoint: write host:port",
        ),
        ("region: eu\ngrpc: {address: '0.0.0.0:1'}\n", "FILE:2: grpc.address: 0.0.0.0:1 can be reached"),
        ("region: eu\nhttp: {address: '[::]:1'}\n", "FILE:2: http.address: [::]:1 can be reached"),
        ("region: eu\nmetricsUrl: 'http://h:99999/'\n", "FILE:2: metricsUrl: port out of range"),
        ("region: eu\nmetricsNames: {load: x}\n", "FILE:2: metricsNames.load: unknown key"),
        ("region: eu\nregion: us\n", "FILE:2: region: "),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, problem: str, tmp_path: Path) -> None:
    (found,) = problems(text, tmp_path)
    assert found.startswith(problem)


def test_all_faults_come_at_once_each_from_where_it_was_given(tmp_path: Path) -> None:
    found = problems(
        "region: eu\nname: A B\n", tmp_path, {"PRIMACY_AGENT_CAPACITY": "-2"}, grpc__address="there", group="g g"
    )
    assert [problem.split(": ")[:2] for problem in found] == [
        ["command line", "group"],
        ["FILE:2", "name"],
        ["PRIMACY_AGENT_CAPACITY", "capacity"],
        ["command line", "grpc.address"],
    ]


def test_plain_traffic_beyond_this_machine_must_be_said_aloud() -> None:
    given = {"region": "eu", "grpc.address": "0.0.0.0:1", "http.address": ""}
    assert load_config(None, {}, {**given, "insecure": "true"}).insecure
    tls = {"tls.certificate": "c", "tls.key": "k"}
    assert load_config(None, {}, {**given, **tls}).tls is not None
    with pytest.raises(ConfigError):
        load_config(None, {}, given)
