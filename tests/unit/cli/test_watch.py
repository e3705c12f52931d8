"""The group kept on one screen: what changes, what is stale, and what is back."""

from __future__ import annotations

import io
import json

import grpc
import pytest
from primacy.v1 import election_pb2, event_pb2, monitoring_pb2, override_pb2, region_pb2, status_service_pb2
from primacy.v1.replication_service_pb2 import GetReplicationStatusResponse
from primacy_cli.local.screen import PlainScreen
from primacy_cli.tables import facts, is_screen, print_tables, stack, table
from primacy_cli.watch_screen import Details
from primacy_cli.watching import PlainLines, Seen, screen
from rich.console import Console

from tests.unit.cli.calls import Run

LEASE_S = 3


def status(*events: int, active: str = "eu", health: str = "HEALTHY") -> status_service_pb2.GetStatusResponse:
    found = status_service_pb2.GetStatusResponse(group="default", active_region=active)
    found.lease.accepted_epoch = 4
    found.lease.remaining.FromSeconds(LEASE_S)
    found.regions.add(name="eu", status=region_pb2.RegionStatus.Value(f"REGION_STATUS_{health}"), active=True)
    for number in sorted(events, reverse=True):
        found.events.add(sequence=number, message=f"event number {number}")
    return found


def drawn(seen: Seen, now_s: float, width: int = 200, height: int | None = None) -> str:
    """On paper, or on a terminal of that height."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None, force_terminal=height is not None)
    console.print(screen(seen, now_s, "host:7400", 20))
    return out.getvalue()


def busy(regions: int = 3, events: int = 20) -> Seen:
    """A group of which there is much to tell."""
    found = status(*range(events))
    del found.regions[:]
    names = [f"region-{number}" for number in range(regions)]
    for name in names:
        region = found.regions.add(name=name, status=region_pb2.REGION_STATUS_HEALTHY)
        region.agents.add(agent="agent-1", connected=True)
        region.load.request_rate, region.load.error_rate, region.load.utilisation = 120.0, 0.01, 0.4
        row = found.read_weights.rows.add(client_region=name)
        for other in names:
            row.weights[other] = 1 / regions
            if other != name:
                sight = found.sights.add(observer=f"{name}/agent-1", region=other, agent=f"{other}/agent-1")
                sight.reachable = other != names[-1]
                sight.rtt.FromMilliseconds(12)
    found.regions[1].status, found.regions[1].status_reason = region_pb2.REGION_STATUS_DOWN, "nothing is heard"
    alerts = status_service_pb2.ListAlertsResponse()
    for number in range(8):
        alert = alerts.alerts.add(summary=f"trouble number {number}", state=monitoring_pb2.ALERT_STATE_FIRING)
        alert.severity = event_pb2.SEVERITY_CRITICAL if number == 0 else event_pb2.SEVERITY_WARNING
        alert.cause_id = "" if number < 2 else "region-down/region-1"
    log = GetReplicationStatusResponse(head=52)
    log.regions.add(region="region-0", settled=52, heard=True)
    behind = log.regions.add(region="region-1", settled=40, lag_entries=12, heard=True)
    behind.lag_age.FromSeconds(90)
    log.regions.add(region="region-2")
    return Seen(found, 0.0, details=Details(alerts, "", log, ""))


def test_once_shows_the_screen_and_ends() -> None:
    with Run("watch", "--once") as running:
        running.answer("StatusService/GetStatus", status(1, 2))
        running.fail("StatusService/ListAlerts", grpc.StatusCode.UNAVAILABLE, "nothing is measured yet")
        running.answer("ReplicationService/GetReplicationStatus", GetReplicationStatusResponse(head=7))
        result = running.result()
    assert result.exit_code == 0
    assert "eu, epoch 4, lease runs out in 3 s" in result.stdout and "event number 2" in result.stdout
    assert "alerts: not measured" in result.stdout and "log: entry 7" in result.stdout
    with Run("watch", "--once", "-o", "json") as running:
        running.answer("StatusService/GetStatus", status(1))
        assert json.loads(running.result().stdout)["activeRegion"] == "eu"


def test_nobody_there_at_the_start_is_exit_code_3() -> None:
    with Run("watch") as running:
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        assert running.result().exit_code == 3


def test_lines_tell_what_is_new_and_when_it_is_stale_and_when_it_is_back() -> None:
    with Run("watch", "--interval", "0.1") as running:
        running.answer("StatusService/GetStatus", status(1, 2))
        running.answer("StatusService/GetStatus", status(1, 2))
        running.answer("StatusService/GetStatus", status(1, 2, 3, health="SUSPECT"))
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer("StatusService/GetStatus", status(1, 2, 3, 4, active="", health="DOWN"))
        running.fail("StatusService/GetStatus", grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    assert result.exit_code == 1, "what does not come back ends it"
    said = [line.partition("  ")[2] or line for line in result.stdout.splitlines()]
    assert said == [
        "event number 1",
        "event number 2",
        "eu is active at epoch 4; eu HEALTHY",
        "event number 3",
        "eu is active at epoch 4; eu SUSPECT",
        "STALE: the coordinator at 127.0.0.1:7400 cannot be reached; what stands above is the last that is known",
        "the coordinator at 127.0.0.1:7400 answers again",
        "event number 4",
        "no region is active; eu DOWN",
    ]


def test_json_is_one_document_for_each_look_that_was_answered() -> None:
    with Run("watch", "--interval", "0.1", "-o", "json") as running:
        running.answer("StatusService/GetStatus", status(1))
        running.fail("StatusService/GetStatus", grpc.StatusCode.UNAVAILABLE, "connection refused")
        running.answer("StatusService/GetStatus", status(1, 2))
        running.fail("StatusService/GetStatus", grpc.StatusCode.NOT_FOUND, "the group was deleted")
        result = running.result()
    counts = [len(json.loads(line)["events"]) for line in result.stdout.splitlines()]
    assert counts == [1, 2]
    assert "stale" in result.stderr


def test_another_journal_is_told_from_its_newest(capsys: pytest.CaptureFixture[str]) -> None:
    lines = PlainLines("host:7400", 2)
    lines.looked(Seen(status(7, 8, 9), 0))
    lines.looked(Seen(status(1, 2, 3), 1))
    told = [line[-1] for line in capsys.readouterr().out.splitlines() if "event" in line]
    assert told == ["8", "9", "2", "3"]


def test_the_screen_counts_down_and_says_how_old_it_is() -> None:
    found = status()
    pause = found.overrides.add(kind=override_pb2.OVERRIDE_KIND_PAUSE, reason="rack move", owner="kim")
    pause.remaining.FromSeconds(100)
    seen = Seen(found, 50.0)
    fresh = drawn(seen, 51.0)
    assert "STALE" not in fresh and "host:7400" in fresh
    assert "lease runs out in 2 s" in fresh and "1 min 39 s" in fresh
    stale = drawn(seen.lost("nobody answers"), 50.0 + LEASE_S + 7)
    assert "STALE: nobody answers. What follows was so 10 s ago." in stale
    assert "lease may have run out" in stale and "1 min 30 s" in stale


def test_a_state_line_names_moves_drains_and_doubts(capsys: pytest.CaptureFixture[str]) -> None:
    found = status()
    found.regions[0].drain_state, found.regions[0].cordoned = override_pb2.DRAIN_STATE_DRAINING, True
    found.overrides.add(kind=override_pb2.OVERRIDE_KIND_DRAIN, region="eu")
    found.failover.id, found.failover.to_region = "fo-1", "us"
    found.failover.state = election_pb2.FAILOVER_STATE_AWAITING_APPROVAL
    found.failover.price.capacity_short = 10
    found.self_doubt.name, found.doubt.reason = "STALLED", "an older copy"
    PlainLines("host:7400", 5).looked(Seen(found, 0))
    (line,) = capsys.readouterr().out.splitlines()
    for text in (
        "move fo-1 to us is awaiting approval (loss not measured, 10 requests per second short)",
        "eu HEALTHY+DRAINING+CORDONED",
        "overrides: drain eu",
        "self-doubt STALLED",
        "doubt: an older copy",
    ):
        assert text in line, text


def test_the_screen_has_what_somebody_on_call_needs() -> None:
    shown = drawn(busy(), 0.0)
    for text in (
        "eu, epoch 4",
        "▲ critical  trouble number 0",
        "6 more alerts",
        "✗ DOWN",
        "region-1: nothing is heard",
        "120/s",
        "region-1 12 behind (1 min 30 s)",
        "region-2 not heard",
        "✗ cut",
        "12 ms",
        "33 %",
        "event number 19",
    ):
        assert text in shown, text
    assert "trouble number 2" not in shown, "it is explained by another one"
    assert "\x1b" not in shown


@pytest.mark.parametrize("height", [18, 24])
def test_of_many_regions_those_that_are_not_well_are_seen(height: int) -> None:
    seen = busy(50)
    seen.status.regions[1].status = region_pb2.REGION_STATUS_HEALTHY
    seen.status.regions[40].status = region_pb2.REGION_STATUS_DOWN
    seen.status.regions[30].active = True
    shown = drawn(seen, 0.0, 100, height).splitlines()
    assert len(shown) <= height
    rows = [line.split()[0] for line in shown if line.startswith("region-")]
    assert rows[:2] == ["region-40", "region-30"]
    assert f"{50 - len(rows)} more regions, all of them healthy: `primacy regions`" in shown
    for region in seen.status.regions:
        region.status = region_pb2.REGION_STATUS_DOWN
    assert f"{50 - len(rows)} of them not healthy" in drawn(seen, 0.0, 100, height)


def test_what_happened_between_two_looks_and_is_seen_no_more_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    lines, up = PlainLines("host:7400", 2), PlainScreen()
    for newest in (status(1, 2), status(8, 9)):
        lines.looked(Seen(newest, 0))
        up.update(newest)
    out = capsys.readouterr().out
    assert out.count("… 5 events in between: `primacy events -n 7`") == 2
    up.update(status(10))
    assert "in between" not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_text_from_elsewhere_neither_steers_the_terminal_nor_is_markup(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Out(io.StringIO):
        def isatty(self) -> bool:
            return where == "terminal"

    out = Out()
    monkeypatch.setattr("sys.stdout", out)
    bad = "a\x1b[2J\x1b]0;title\x07\x9b31mb [bold]kim[/bold] [red] \\[x]"
    print_tables(stack(bad, table(("HEAD",), [[bad]]), facts([("name", bad)])))
    print_tables(bad)
    shown = out.getvalue()
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(shown.replace("\x1b[1m", "").replace("\x1b[0m", ""))
    assert shown.count("b [bold]kim[/bold] [red] \\[x]") == 4


@pytest.mark.parametrize(("kind", "screen"), [("dumb", False), ("xterm-256color", True)])
def test_a_dumb_terminal_gets_lines(kind: str, screen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can only be drawn again would never show there."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr("sys.stdout", Terminal())
    assert is_screen() is screen


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (120, 40), (60, 15), (200, 60)])
@pytest.mark.parametrize("regions", [3, 10])
def test_it_fits_the_terminal_and_drops_what_matters_less(width: int, height: int, regions: int) -> None:
    shown = drawn(busy(regions), 0.0, width, height).splitlines()
    assert all(len(line.rstrip()) <= width for line in shown)
    text = "\n".join(shown)
    assert "eu, epoch 4" in text and "trouble number 0" in text and "region-2" in text
    if regions == 3 and height >= 24:
        assert len(shown) <= height
        assert "event number 19" in text, "the newest events stay"
    if regions == 3 and (width, height) == (80, 24):
        assert "READS FROM" not in text
    if (width, height) == (200, 60):
        assert "READS FROM" in text and "ROUND TRIP" in text


def test_what_cannot_be_asked_is_said_instead_of_shown_as_nothing() -> None:
    shown = drawn(Seen(status(1), 0.0, details=Details(None, "not yet", None, "no log")), 0.0)
    assert "alerts: not measured (not yet)" in shown and "log: not known (no log)" in shown
    quiet = Details(status_service_pb2.ListAlertsResponse(), "", GetReplicationStatusResponse(head=1), "")
    assert "✓ no alert fires" in drawn(Seen(status(1), 0.0, details=quiet), 0.0)
