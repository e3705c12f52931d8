"""Settings are checked together, and every problem is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from primacy_coordinator.config import load_config
from primacy_coordinator.serve import load_settings
from primacy_coordinator.sinks.making import make_sinks
from primacy_wire.settings import ConfigError


def problems(path: str | None = None, **flags: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, {}, {name.replace("__", "."): value for name, value in flags.items()})
    return caught.value.problems


def test_the_defaults_bind_loopback() -> None:
    config = load_config(None, {}, {})
    assert (config.grpc.address, config.http.address) == ("127.0.0.1:7400", "127.0.0.1:7480")


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.yaml"
    file.write_text("grpc:\n  address: 127.0.0.1:1\nhttp:\n  address: 127.0.0.1:2\nlog:\n  level: debug\n")
    environ = {"PRIMACY_COORDINATOR_GRPC__ADDRESS": "127.0.0.1:3", "PRIMACY_COORDINATOR_HTTP__ADDRESS": "127.0.0.1:4"}
    config = load_config(str(file), environ, {"grpc.address": "127.0.0.1:5"})
    assert config.grpc.address == "127.0.0.1:5"
    assert config.http.address == "127.0.0.1:4"
    assert config.log.level.value == "debug"


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.yaml"
    file.write_text("log:\n  levle: debug\n")
    (problem,) = problems(str(file))
    assert f"{file}:2" in problem
    assert "log.levle" in problem
    assert "level" in problem


def test_other_machines_need_tls_or_a_word() -> None:
    assert "--insecure" in problems(grpc__address="0.0.0.0:7400")[0]
    assert load_config(None, {}, {"grpc.address": "0.0.0.0:7400", "insecure": "true"}).insecure
    assert "http.address" in problems(http__address="0.0.0.0:7480")[0]


def test_odd_addresses_are_refused() -> None:
    assert len(problems(grpc__address="nowhere", http__address="127.0.0.1:99999")) == 2
    assert load_config(None, {}, {"http.address": ""}).http.address == ""
    assert load_config(None, {}, {"grpc.address": "unix:/run/primacy.sock"}).grpc.address.startswith("unix:")


def test_who_may_use_the_http_port() -> None:
    config = load_config(None, {}, {})
    assert (config.http.hosts, config.dashboard.actions) == ((), None)
    flags = {"http.hosts": "primacy.example.com,primacy-1", "dashboard.actions": "true"}
    config = load_config(None, {"PRIMACY_COORDINATOR_DASHBOARD__ACTIONS": "false"}, flags)
    assert (config.http.hosts, config.dashboard.actions) == (("primacy.example.com", "primacy-1"), True)
    for odd in ("https://primacy.example.com", "primacy.example.com:443", "*", "a/b"):
        (problem,) = problems(http__hosts=odd)
        assert "http.hosts" in problem
        assert odd in problem
    assert "dashboard.actions" in problems(dashboard__actions="perhaps")[0]


def test_a_bad_policy_file_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("leaseTtl: 5s\nreadStrategie: HEALTH\n")
    (problem,) = problems(policy=str(file))
    assert f"{file}:2" in problem
    assert "readStrategy" in problem
    file.write_text("leaseTtl: 1s\nreportInterval: 5s\n")
    assert any("leaseTtl" in problem or "reportInterval" in problem for problem in problems(policy=str(file)))
    assert str(tmp_path / "absent") in problems(policy=str(tmp_path / "absent"))[0]


def test_a_policy_file_is_read_as_the_api_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("leaseTtl: 3s\nreadStrategy: geographic\nregionWeights: {eu: 2}\n")
    policy = load_settings(None, {}, {"policy": str(file)}).policy
    assert policy is not None
    assert (policy.lease_ttl_ns, policy.read_strategy.name) == (3_000_000_000, "GEOGRAPHIC")
    assert policy.region_weights == (("eu", 2.0),)


def test_the_example_is_the_default() -> None:
    example = Path(__file__).parents[3] / "coordinator" / "primacy-coordinator.example.yaml"
    assert load_config(str(example), {}, {}) == load_config(None, {}, {})


def test_every_fault_of_the_sinks_is_named_with_its_place(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("short")
    file = tmp_path / "coordinator.yaml"
    file.write_text(
        f"""
alerts:
  alertmanager: ["alertmanager:9093", "http://a:9093"]
  webhooks:
  - {{url: "ftp://b", name: pager, secretFile: {secret}}}
  - {{url: "http://c", name: pager, secretFile: {tmp_path}/absent, timeout: 5m, coolDown: 48h}}
  - {{url: "http://d", name: "Not A Name"}}
  externalUrl: primacy.example.com
  caFile: {tmp_path}/ca.pem
"""
    )
    found = problems(str(file))
    assert [problem.partition(": ")[0] for problem in found] == [
        "alerts.alertmanager[0]",
        "alerts.webhooks[0].url",
        "alerts.webhooks[0].secretFile",
        "alerts.webhooks[1].name",
        "alerts.webhooks[1].secretFile",
        "alerts.webhooks[1].timeout",
        "alerts.webhooks[1].coolDown",
        "alerts.webhooks[2].name",
        "alerts.externalUrl",
        "alerts.caFile",
    ]
    assert "16 bytes" in found[2] and "No such file" in found[4]
    file.write_text("alerts: {webhooks: [{url: 'http://a', minSeverity: urgent}]}\n")
    assert f"{file}:1" in problems(str(file))[0] and "minSeverity" in problems(str(file))[0]


def test_sinks_are_made_as_the_settings_say(tmp_path: Path) -> None:
    file = tmp_path / "coordinator.yaml"
    file.write_text(
        """
alerts:
  alertmanager: ["http://a:9093", "http://user:secret@b:9093"]
  webhooks: [{url: "http://c/hook?token=x"}, {url: "http://d", name: pager, minSeverity: critical}]
"""
    )
    sinks = make_sinks(load_config(str(file), {}, {}).alerts, lambda _: None)
    assert [(sink.name, sink.address) for sink in sinks] == [
        ("alertmanager-1", "http://a:9093"),
        ("alertmanager-2", "http://b:9093"),
        ("webhook-1", "http://c/...?..."),
        ("pager", "http://d"),
        ("log", "the coordinator's log"),
    ]
    assert make_sinks(load_config(None, {}, {"alerts.log": "false"}).alerts, lambda _: None) == ()


def test_a_policy_whose_rules_do_not_fit_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("slos: []\nalertRules:\n- name: a\n  absence: {series: x}\n  labels:\n    group: y\n")
    (problem,) = problems(policy=str(file))
    assert problem.startswith(f"{file}:6: alertRules[0].labels.group: ")


@pytest.mark.parametrize("name", ["log", "alertmanager", "webhook-2"])
def test_a_webhook_cannot_have_the_name_of_another_sink(tmp_path: Path, name: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"alerts: {{webhooks: [{{url: 'http://a', name: {name}}}, {{url: 'http://b'}}]}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(file), {}, {})
    assert caught.value.problems == ("alerts.webhooks[0].name: is how another sink is called",)
