"""The real Prometheus and its promtool, with what the programs say of themselves and what stands in `deploy/`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from primacy_cli.local.ports import Ports

from tests.e2e.clusters_up import Up, page, patient, until
from tests.e2e.prometheuses import Prometheus, promtool

pytestmark = [pytest.mark.integration, pytest.mark.needs("prometheus")]

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "primacy-rules.yaml"
REGIONS = ("us-east", "eu-west", "ap-south")
METRIC = re.compile(r"\b(?:\w+:)?(?:primacy|process)_\w+(?::\w+)?\b(?!\.\w)")
COMES_LATER = {
    "primacy_agent_xds_answers_total": "an xDS client has answered",
    "primacy_agent_weights_hook_runs_total": "an agent has a program onWeights",
}
"""Families without any series until something has happened."""
SCRAPED_S = 60.0


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("prometheus")
    with Up(folder / "cluster", "--regions", "3", "--traffic", "20", *patient(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def prometheus(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """With the configuration that `deploy/` shows, but for where the programs of this test listen."""
    folder = tmp_path_factory.mktemp("server")
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES)]
    coordinator, agents = config["scrape_configs"]
    coordinator["static_configs"][0]["targets"] = [up.cluster["coordinators"][0]["http"]]
    agents["static_configs"][0]["targets"] = [agent_http(up, name) for name in REGIONS]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    with Prometheus(folder, path, Ports(defaults=False).take(9090)) as running:
        until(lambda: set(running.targets().values()) == {"up"}, "all four are scraped", SCRAPED_S)
        yield running


def agent_http(up: Up, region: str) -> str:
    return str(up.region(region)["agents"][0]["http"])


def metrics(address: str) -> bytes:
    code, _, text = page(address, "/metrics")
    assert code == 200
    return text.encode()


def pages(up: Up) -> dict[str, bytes]:
    return {
        "coordinator": metrics(up.cluster["coordinators"][0]["http"]),
        **{name: metrics(agent_http(up, name)) for name in REGIONS},
    }


def test_promtool_finds_nothing_wrong_with_names_units_and_help(up: Up) -> None:
    for name, text in pages(up).items():
        done = promtool("check", "metrics", stdin=text)
        assert done.returncode == 0 and not done.stdout, f"{name}: {done.stdout}{done.stderr}"


def test_every_family_of_ours_has_a_help_text_and_counters_end_in_total(up: Up) -> None:
    for name, text in pages(up).items():
        helped = re.findall(r"^# HELP (\w+) (.+)$", text.decode(), re.MULTILINE)
        typed = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text.decode(), re.MULTILINE))
        assert {family for family, _ in helped} == set(typed), name
        for family, kind in typed.items():
            assert (kind == "counter") == family.endswith("_total"), family


def test_series_of_a_page_are_bounded_by_regions_and_agents(up: Up) -> None:
    """What grows with the square of the regions is weights and round trips; nothing grows with time or requests."""
    regions = len(REGIONS)
    for name, text in pages(up).items():
        lines = [line for line in text.decode().splitlines() if line and not line.startswith("#")]
        assert len(lines) < 100 + 20 * regions + 8 * regions**2, name
        assert len(lines) == len({line.rpartition(" ")[0] for line in lines}), f"{name}: a series twice"


def test_what_prometheus_knows_is_what_the_api_says(up: Up, prometheus: Prometheus) -> None:
    def agreed(expression: str, wanted: dict[str, float], label: str) -> None:
        def same() -> bool:
            found = {dict(labels).get(label, ""): value for labels, value in prometheus.query(expression).items()}
            return found == wanted

        until(same, f"{expression} is {wanted}")

    active, epoch = up.active()
    agreed("primacy_region_active", {name: float(name == active) for name in REGIONS}, "region")
    agreed("primacy_group_epoch", {"default": float(epoch)}, "group")
    agreed('primacy_region_status{status="healthy"}', dict.fromkeys(REGIONS, 1.0), "region")
    agreed("primacy_region_agents", dict.fromkeys(REGIONS, 1.0), "region")
    agreed(
        "primacy_agent_lease_valid * on (instance) group_left (region) primacy_agent_info",
        {name: float(name == active) for name in REGIONS},
        "region",
    )
    rows = up.json("weights")["rows"]
    row = next(row for row in rows if row["clientRegion"] == "eu-west")["weights"]
    agreed('primacy_region_weight{client_region="eu-west", traffic_class="read"}', row, "target_region")
    ways = until(
        lambda: (
            [*prometheus.query("primacy_region_rtt_seconds")]
            if len(prometheus.query("primacy_region_rtt_seconds")) == 6
            else []
        ),
        "the round trips of all pairs",
    )
    assert all(dict(way)["region"] != dict(way)["target_region"] for way in ways)


def test_requests_are_counted_alike_by_agents_and_coordinator(prometheus: Prometheus) -> None:
    def counted() -> bool:
        theirs = sum(prometheus.query("sum(primacy_agent_routed_total)").values())
        ours = sum(prometheus.query("sum(primacy_group_routed_total)").values())
        return theirs > 100 and ours > 0.5 * theirs

    until(counted, "what agents count reaches the coordinator", SCRAPED_S)


def test_a_switchover_is_seen(up: Up, prometheus: Prometheus) -> None:
    before, epoch = up.active()
    target = next(name for name in REGIONS if name != before)
    done = up.primacy("failover", "--to", target, "--reason", "to see it", "--yes")
    assert done.returncode == 0, done.stderr
    until(lambda: (("group", "default"),) in prometheus.query(f"primacy_group_epoch > {epoch}"), "the epoch grows")
    until(
        lambda: [dict(labels)["region"] for labels in prometheus.query("primacy_region_active == 1")] == [target],
        "the new region is active",
    )


# ---- what stands in deploy/


def test_rules_are_right_and_do_what_their_tests_say() -> None:
    for words in (
        ("check", "rules", str(RULES)),
        ("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml")),
        ("test", "rules", str(DEPLOY / "prometheus" / "primacy-rules-test.yaml")),
    ):
        done = promtool(*words)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_says_how_bad_what_and_what_next() -> None:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            if "alert" in rule:
                assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
                assert set(rule["annotations"]) == {"summary", "description"}, rule["alert"]


def dashboard() -> list[tuple[str, str]]:
    """(panel, expression) of every query."""
    content: dict[str, Any] = json.loads((DEPLOY / "grafana" / "primacy.json").read_text())
    found = [
        (panel["title"], target["expr"].replace("$group", "default"))
        for panel in content["panels"]
        for target in panel.get("targets", [])
    ]
    found += [(one["name"], one["expr"].replace("$group", "default")) for one in content["annotations"]["list"]]
    return found


def families(up: Up) -> set[str]:
    """Every name that can be asked for: of series, and of what the rules record."""
    found = set(COMES_LATER)
    for text in pages(up).values():
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text.decode(), re.MULTILINE):
            found |= {name, *((f"{name}_bucket", f"{name}_sum", f"{name}_count") if kind == "histogram" else ())}
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return found | {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_panels_and_rules_ask_for_nothing_that_is_not_there(up: Up) -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    asked = dashboard() + [
        (rule.get("alert") or rule["record"], rule["expr"]) for group in groups for rule in group["rules"]
    ]
    known = until(lambda: families(up), "the pages")
    for where, expression in asked:
        names = set(METRIC.findall(expression))
        assert names or expression.startswith(("up{", "absent(up{")), f"{where}: {expression}"
        assert names <= known, f"{where} asks for {names - known}"


def test_pages_name_metrics_and_rules_that_there_are(up: Up) -> None:
    text = "".join((DEPLOY.parent / "docs" / name).read_text() for name in ("observe.md", "dataplane.md", "routing.md"))
    assert set(METRIC.findall(text)) <= families(up)
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert set(re.findall(r"`(Primacy\w+)`", text)) == alerts


def test_the_real_one_evaluates_every_panel_and_every_rule(prometheus: Prometheus) -> None:
    until(lambda: set(prometheus.rules().values()) == {"ok"}, "every rule was evaluated", SCRAPED_S)
    may_be_empty = re.compile(r"[<>=!]=? ?[01]\b|!=|primacy_alerts|override_remaining|data_lag|error_ratio|sink|slo_")
    for where, expression in dashboard():
        if may_be_empty.search(expression):
            prometheus.query(expression)
        else:
            until(partial(prometheus.query, expression), f"{where}: {expression}", SCRAPED_S)
