"""The dashboard in a real browser against a real `primacy up`: what it shows, what it does, and how it looks."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from primacy.v1 import group_service_pb2, region_pb2, region_service_pb2
from primacy.v1.group_service_pb2_grpc import GroupServiceStub
from primacy.v1.region_service_pb2_grpc import RegionServiceStub

from tests.e2e.browsers import DESKTOP, PHONE, Watched, artefacts, chromium, need_bundle, too_wide, violations
from tests.e2e.clusters_up import Up, until

pytestmark = [pytest.mark.integration, pytest.mark.needs("chromium")]
REGIONS = ("us-east", "eu-west", "ap-south")
POLICY = """\
firstWait: 4s
drainTime: 1s
slowStart: 1s
holdDown: 1s
coolDown: 0s
stableFor: 1s
weightSlew: 1
weightHysteresis: 0
slos:
  - name: served
    indicator: AVAILABILITY
    objective: 0.999
    perRegion: true
"""
REGION_COUNT = 50
SHOWN_WITHIN_S = 2.0
"""From the journal's entry to the page."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    need_bundle()
    folder = tmp_path_factory.mktemp("dashboard")
    policy = folder / "policy.yaml"
    policy.write_text(POLICY)
    with Up(folder / "cluster", "--regions", "3", "--policy", str(policy)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def watched(up: Up, browser: Browser) -> Iterator[Watched]:
    """A page on a desktop. Whatever a test does with it, it asks nobody else, and nothing goes wrong."""
    made = Watched(browser, http(up), viewport=DESKTOP)
    yield made
    made.check()
    made.context.close()


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artefacts(tmp_path_factory.mktemp("artefacts"))


def http(up: Up) -> str:
    address: str = up.cluster["coordinators"][0]["http"]
    return address


def api(up: Up, method: str, **request: Any) -> Any:
    """What the API answers, by way of the gateway."""
    asked = urllib.request.Request(
        f"http://{http(up)}/api/primacy.v1.{method}",
        json.dumps(request).encode(),
        {"Content-Type": "application/json", "Primacy-Request": "1"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def active(up: Up) -> str:
    region: str = api(up, "StatusService/GetStatus")["activeRegion"]
    return region


def a_standby(up: Up) -> str:
    return next(name for name in REGIONS if name != active(up))


def percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share == 0 or share >= 0.0995 else f"{share * 100:.1f}".removesuffix(".0") + " %"


def settle(up: Up) -> None:
    """Until every region is well and one is active."""
    until(lambda: set(up.statuses().values()) == {"REGION_STATUS_HEALTHY"}, "all is well", 60.0)
    until(lambda: active(up), "a region is active", 60.0)


# ---- what it shows


def test_every_panel_shows_what_the_api_says(up: Up, watched: Watched) -> None:
    settle(up)
    page = watched.open()
    status = api(up, "StatusService/GetStatus")
    expect(page.locator("[data-test=active-region]")).to_have_text(status["activeRegion"])
    expect(page.locator("[data-test=epoch]")).to_have_text(status["epoch"])
    expect(page.locator("[data-test=lease]")).to_have_text(re.compile(r"^\d\.\d s$"))
    assert page.title().startswith(status["activeRegion"])
    expect(page.locator("[data-test=region]")).to_have_count(len(REGIONS))
    for region in status["regions"]:
        card = page.locator(f"[data-test=region][data-region={region['name']}]")
        expect(card).to_have_attribute("data-status", region["status"])
        expect(card).to_contain_text(region["status"].removeprefix("REGION_STATUS_").lower())
        expect(card).to_contain_text(region["statusReason"])
        expect(card.locator("[data-test=role]")).to_have_text("active" if region["active"] else "standby")
        rows = status["readWeights"]["rows"]
        expect(card.locator("[data-test=reads]")).to_have_text(
            percent(sum(row["weights"][region["name"]] for row in rows) / len(rows))
        )
        for line in region["evidence"]:
            expect(card.locator(".evidence")).to_contain_text(line)

    row = next(row for row in status["readWeights"]["rows"] if row["clientRegion"] == status["activeRegion"])
    for target, share in row["weights"].items():
        shown = page.locator(f"[data-test=weight][data-target={target}]")
        expect(shown.locator("[data-test=share]")).to_have_text(percent(share))
        for cause in row["causes"][target]["causes"]:
            expect(shown).to_contain_text(cause["name"].replace("_", " "))

    then = api(up, "ElectionService/ExplainElection", ifDown=status["activeRegion"])
    expect(page.locator("[data-test=readiness]")).to_contain_text(f"{then['winner']} takes over")
    expect(page.locator("#readiness li strong")).to_have_text(
        [each["region"] for each in then["candidates"] if each["region"] != status["activeRegion"]]
    )
    expect(page.locator("#map .place")).to_have_count(len(REGIONS))
    expect(page.locator("#map .arc.rtt")).to_have_count(3)
    expect(page.locator("#rtt tbody td").filter(has_text=re.compile(r"^[\d.]+ m?s$"))).to_have_count(6)
    expect(page.locator("[data-test=replica]")).to_have_count(len(REGIONS))
    moves = api(up, "ElectionService/ListFailovers")["failovers"]
    expect(page.locator("[data-test=move]")).to_have_count(len(moves))
    first = page.locator(f"[data-test=move][data-id={moves[0]['id']}]")
    expect(first).to_contain_text(moves[0]["explanation"])
    expect(first.locator(".timeline li")).to_have_count(len(moves[0]["phases"]))
    expect(page.locator("#overrides")).to_contain_text("the policy alone decides")
    firing = [each["id"] for each in api(up, "StatusService/ListAlerts")["alerts"]]
    expect(page.locator("[data-test=alert]")).to_have_count(len(firing))
    events = api(up, "StatusService/ListEvents", pageSize=5)["events"]
    for event in events:
        shown = page.locator(f"[data-sequence='{event['sequence']}']")
        expect(shown).to_contain_text(event["message"].replace("`", ""))


def test_a_model_on_its_way_is_shown_with_how_much_of_it_came(watched: Watched) -> None:
    # A transfer that lasts is more than this cluster can have: one is put into what the coordinator says.
    watched.page.add_init_script("""
        const add = EventSource.prototype.addEventListener;
        EventSource.prototype.addEventListener = function (name, take) {
          add.call(this, name, name !== "replication" ? take : (event) => {
            const told = JSON.parse(event.data);
            told.regions.find((each) => each.region === "eu-west").transfers.push(
              { sequence: "7", key: "bert", agent: "eu-west/agent-1", received: "450000000", size: "1000000000" });
            take({ data: JSON.stringify(told) });
          });
        };
    """)
    page = watched.open()
    shown = page.locator("[data-test=transfer]")
    expect(shown).to_contain_text("eu-west/agent-1 fetches bert (entry 7): 429 MiB of 954 MiB, 45 %")


def test_what_was_measured_is_charted(up: Up, watched: Watched) -> None:
    settle(up)
    until(lambda: "series" in api(up, "StatusService/QueryMetrics", series="request_rate"), "something was measured")
    page = watched.open()
    for series in ("request_rate", "utilisation"):
        chart = page.locator(f"[data-test=metric][data-series={series}]")
        expect(chart.locator(".legend button")).to_have_text([re.compile(name) for name in sorted(REGIONS)])
        expect(chart.locator("canvas")).to_be_visible()
    chart = page.locator("[data-test=metric][data-series=request_rate]")
    chart.get_by_label("Whose values chart 1 shows").select_option("global")
    expect(chart.locator(".legend button")).to_have_text([re.compile("all regions")])
    chart.get_by_label("Series of chart 1").select_option("rtt_seconds")
    chart = page.locator("[data-test=metric][data-series=rtt_seconds]")
    chart.get_by_label("Whose values chart 1 shows").select_option("regions")
    expect(chart.locator(".legend button")).to_have_count(6)

    # Dragging over a chart shows that range in all of them.
    until(lambda: is_narrowed(page, chart), "a range is shown")
    page.get_by_role("button", name="Back to now").click()
    expect(page.get_by_role("button", name="Back to now")).to_have_count(0)

    rows = page.locator("[data-test=performance]")
    expect(rows).to_have_count(1 + len(REGIONS))
    expect(rows.first).to_contain_text("whole group")
    # A region's objective is there once something was measured of that region.
    until(
        lambda: len(api(up, "StatusService/GetPerformance")["slos"]) == 1 + len(REGIONS),
        "all objectives are judged",
        60.0,
    )
    expect(page.locator("[data-test=slo]")).to_have_count(1 + len(REGIONS), timeout=20_000)


def is_narrowed(page: Page, chart: Locator) -> bool:
    """Drags over the chart, and says whether it took it: not if it is just being drawn with other lines."""
    over = chart.locator(".u-over")
    # Not smoothly, as the page would have it: else something else is under the mouse.
    over.evaluate("element => element.scrollIntoView({block: 'center', behavior: 'instant'})")
    box = over.bounding_box()
    if box is None:
        return False
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=4)
    page.mouse.up()
    return page.get_by_role("button", name="Back to now").count() > 0


def test_groups_of_any_size_are_shown(up: Up, watched: Watched, shots: Path) -> None:
    with grpc.insecure_channel(up.address) as channel:
        groups, regions = GroupServiceStub(channel), RegionServiceStub(channel)
        for group in ("empty", "many"):
            groups.CreateGroup(group_service_pb2.CreateGroupRequest(group=group))
        for number in range(REGION_COUNT):
            location = region_pb2.Location(latitude=-50 + number * 2.3 % 110, longitude=-170 + number * 47 % 340)
            region = region_pb2.Region(name=f"region-{number:02}", location=location if number % 10 else None)
            regions.RegisterRegion(region_service_pb2.RegisterRegionRequest(group="many", region=region))
    page = watched.open("empty")
    expect(page.locator("[data-test=banner]")).to_contain_text("has no regions yet")
    expect(page.locator("#weights")).to_contain_text("no weights yet")
    assert violations(page) == []
    page.locator(".top select").first.select_option("many")
    expect(page.locator("[data-test=region]")).to_have_count(REGION_COUNT)
    expect(page.locator("#regions table")).to_be_visible()  # So many are no cards.
    expect(page.locator("#map .place")).to_have_count(REGION_COUNT * 9 // 10)
    expect(page.locator("#map")).to_contain_text("Without a location")
    expect(page.locator("[data-test=banner]").first).to_contain_text("No region is active")
    assert violations(page) == []
    page.set_viewport_size(PHONE)
    assert too_wide(page) == []
    page.set_viewport_size(DESKTOP)
    page.screenshot(path=shots / "fifty-regions.png", full_page=True)


def test_a_group_that_is_not_there_is_named(watched: Watched) -> None:
    page = watched.open("nowhere", live=False)
    expect(page.locator("[data-test=banner]")).to_contain_text("nowhere")


# ---- what it does


def test_the_dry_run_of_a_move_changes_nothing_and_the_button_makes_it(up: Up, watched: Watched, shots: Path) -> None:
    settle(up)
    page = watched.open()
    before = api(up, "StatusService/GetStatus")
    target = a_standby(up)
    plan = api(up, "ElectionService/Failover", targetRegion=target, validateOnly=True)
    page.get_by_role("button", name=f"Make active {target}…").click()
    dialog = page.locator("[data-test=dialog]")
    expect(dialog.locator("[data-test=steps] li")).to_have_text(plan["steps"])
    expect(dialog.locator("[data-test=preview]")).to_contain_text("Without an active region for")
    expect(dialog.locator("[data-test=preview]")).to_contain_text("Price:")
    expect(dialog.locator("[data-test=do]")).to_be_disabled()  # Nobody has said why.
    assert violations(page) == []
    page.screenshot(path=shots / "dialog.png")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    after = api(up, "StatusService/GetStatus")
    assert (after["activeRegion"], after["epoch"]) == (before["activeRegion"], before["epoch"])

    page.get_by_role("button", name=f"Make active {target}…").click()
    dialog.locator("input[name=reason]").fill("a new kernel")
    dialog.locator("input[name=owner]").fill("ada")
    expect(dialog.locator("[data-test=line]")).to_contain_text(
        f"primacy failover --to {target} --reason 'a new kernel'"
    )
    dialog.locator("[data-test=do]").click()
    expect(dialog.locator("[data-test=result]")).to_contain_text(f"{target} is active at epoch")
    expect(page.locator("[data-test=active-region]")).to_have_text(target)
    move = api(up, "ElectionService/ListFailovers", pageSize=1)["failovers"][0]
    assert (move["toRegion"], move["reason"], move["owner"], move["kind"]) == (
        target,
        "a new kernel",
        "ada",
        "FAILOVER_KIND_PLANNED",
    )
    dialog.get_by_role("button", name="Close").click()
    expect(page.locator(f"[data-test=move][data-id={move['id']}]")).to_contain_text("a new kernel")


def test_a_forced_move_asks_for_the_name_of_the_region(up: Up, watched: Watched) -> None:
    settle(up)
    target = a_standby(up)
    page = watched.open()
    page.get_by_role("button", name=f"Make active {target}…").click()
    dialog = page.locator("[data-test=dialog]")
    dialog.get_by_label("Forced").check()
    dialog.locator("input[name=reason]").fill("it cannot wait")
    do = dialog.locator("[data-test=do]")
    expect(do).to_have_text("Force the failover")
    expect(do).to_be_disabled()
    dialog.locator("input[name=typed]").fill(target[:-1])
    expect(do).to_be_disabled()
    dialog.locator("input[name=typed]").fill(target)
    expect(do).to_be_enabled()
    do.click()
    expect(dialog.locator("[data-test=result]")).to_contain_text(f"{target} is active at epoch")
    assert active(up) == target


def test_overrides_are_set_refused_shown_and_ended(up: Up, watched: Watched) -> None:
    settle(up)
    target = a_standby(up)
    page = watched.open()
    dialog = page.locator("[data-test=dialog]")

    def act(button: str, reason: str = "") -> None:
        page.get_by_role("button", name=f"{button}…", exact=True).first.click()
        if reason:
            dialog.locator("input[name=reason]").fill(reason)
        dialog.locator("[data-test=do]").click()
        expect(dialog.locator("[data-test=result]")).to_contain_text(re.compile("Done|take"))
        dialog.get_by_role("button", name="Close").click()

    act(f"Cordon {target}", "its disk is nearly full")
    shown = page.locator(f"[data-test=override][data-region={target}]")
    expect(shown).to_contain_text("its disk is nearly full")
    expect(shown.locator("[data-test=ends]")).to_have_text(re.compile("^(1 h|59 min.*)$"))

    # A cordoned region takes no planned move: the rule is named, and what to do.
    page.get_by_role("button", name=f"Make active {target}…").click()
    refusal = api(up, "ElectionService/Failover", targetRegion=target, validateOnly=True)
    expect(dialog.locator("[data-test=refusal]")).to_contain_text(refusal["reason"])
    expect(dialog.locator("[data-test=refusal]")).to_contain_text(refusal["message"].split("`")[0].strip())
    expect(dialog.locator("[data-test=do]")).to_be_disabled()
    page.keyboard.press("Escape")
    act(f"Uncordon {target}")
    expect(shown).to_have_count(0)

    act(f"Drain {target}", "a new kernel")
    card = page.locator(f"[data-test=region][data-region={target}]")
    expect(card).to_contain_text("drained")
    expect(card.locator("[data-test=reads]")).to_have_text("0 %")
    act(f"Undrain {target}")
    expect(card.get_by_text("drained")).to_have_count(0)

    act("Pause moves", "a rack moves")
    expect(page.locator("[data-test=banner]")).to_contain_text("Automatic moves are paused")
    expect(page.locator("[data-test=banner]")).to_contain_text("a rack moves")
    act("Resume moves")
    expect(page.locator("[data-test=banner]")).to_have_count(0)


def test_it_works_by_keyboard(up: Up, watched: Watched) -> None:
    settle(up)
    page = watched.open()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the panels")).to_be_focused()
    button = page.get_by_role("button", name="Move the lease…")
    button.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("[data-test=dialog]")
    expect(dialog).to_be_visible()
    expect(dialog.locator("[data-test=steps]")).to_be_visible()
    for _ in range(14):
        page.keyboard.press("Tab")
        inside = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
        assert page.evaluate(inside)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()


# ---- what happens while it is open


def test_a_killed_region_is_shown_at_once(up: Up, watched: Watched, shots: Path) -> None:
    settle(up)
    page = watched.open()
    victim = active(up)
    page.evaluate(
        """(name) => {
          const card = document.querySelector(`[data-test=region][data-region=${name}]`);
          window.healthyUntil = new Promise((resolve) => {
            new MutationObserver(() => card.dataset.status !== "REGION_STATUS_HEALTHY" && resolve(Date.now()))
              .observe(card, { attributes: true });
          });
        }""",
        victim,
    )
    service = up.region(victim)["services"][0]
    killed = time.time()
    os.kill(service["pid"], signal.SIGKILL)
    seen: float = page.evaluate("healthyUntil") / 1000
    card = page.locator(f"[data-test=region][data-region={victim}]")
    expect(card).to_have_attribute("data-status", "REGION_STATUS_DOWN")
    expect(page.locator("[data-test=active-region]")).not_to_have_text(victim)
    expect(card).to_contain_text("no process")
    expect(page.locator("[data-test=alert]").first).to_contain_text(victim)
    expect(page.get_by_role("status").last).to_contain_text("active region")
    assert violations(page) == []
    page.screenshot(path=shots / "region-down.png", full_page=True)
    journal = api(up, "StatusService/ListEvents", region=victim, kinds=["region-status"], pageSize=20)["events"]
    fell = next(event for event in reversed(journal) if timestamp(event["time"]) >= killed - 0.01)
    after = seen - timestamp(fell["time"])
    print(f"kill -9 to the page: {seen - killed:.3f} s; of these from the journal to the page: {after:.3f} s")
    assert after < SHOWN_WITHIN_S
    service["pid"] = up.restart(service)
    settle(up)
    expect(card).to_have_attribute("data-status", "REGION_STATUS_HEALTHY")


def timestamp(text: str) -> float:
    from datetime import UTC, datetime

    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{fraction or 0}")


def test_a_coordinator_that_is_gone_is_shown_and_found_again(up: Up, watched: Watched, shots: Path) -> None:
    settle(up)
    page = watched.open()
    page.evaluate("window.same = true")
    last = api(up, "StatusService/ListEvents", pageSize=1)["events"][0]["sequence"]
    coordinator = up.cluster["coordinators"][0]
    os.kill(coordinator["pid"], signal.SIGKILL)
    expect(page.locator("[data-test=connection]")).to_have_attribute("data-health", "lost")
    expect(page.get_by_role("alert")).to_contain_text("Disconnected")
    expect(page.locator("main")).to_have_css("filter", "grayscale(1)")
    assert page.title().startswith("(!)")
    assert violations(page) == []
    page.screenshot(path=shots / "disconnected.png")
    coordinator["pid"] = up.restart(coordinator)
    expect(page.locator("[data-test=connection]")).to_have_attribute("data-health", "live", timeout=60_000)
    expect(page.locator("[data-test=banner]").filter(has_text="Disconnected")).to_have_count(0)
    assert page.evaluate("window.same")  # It was not loaded anew.
    settle(up)
    # The stream goes on where it was: no entry is missing.
    newest = int(api(up, "StatusService/ListEvents", pageSize=1)["events"][0]["sequence"])
    assert newest > int(last)
    for sequence in range(int(last), newest + 1):
        expect(page.locator(f"[data-sequence='{sequence}']")).to_have_count(1)


# ---- how it looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_it_is_accessible_and_fits(up: Up, browser: Browser, shots: Path, device: str, scheme: str) -> None:
    settle(up)
    watched = Watched(
        browser,
        http(up),
        viewport=DESKTOP if device == "desktop" else PHONE,
        color_scheme=scheme,
        has_touch=device == "phone",
        reduced_motion="reduce",
    )
    page = watched.open()
    expect(page.locator("#map .place")).to_have_count(len(REGIONS))
    expect(page.locator("[data-test=metric] canvas").first).to_be_visible()
    expect(page.locator("[data-test=performance]").first).to_be_visible()
    expect(page.locator("[data-test=readiness]")).to_contain_text("takes over")
    assert violations(page) == []
    assert too_wide(page) == []
    page.screenshot(path=shots / f"{device}-{scheme}.png", full_page=True)
    ground = background(page)
    assert (ground < 128) == (scheme == "dark")
    page.get_by_label("Theme").select_option("light" if scheme == "dark" else "dark")
    assert (background(page) < 128) == (scheme == "light")
    assert violations(page) == []
    watched.check()
    watched.context.close()


def background(page: Page) -> float:
    """How bright the page's ground is, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    parts = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
    return sum(parts) / 3


def test_the_bundle_is_small(up: Up) -> None:
    need_bundle()
    total = 0
    folder = Path(__file__).resolve().parents[2] / "coordinator/primacy_coordinator/web/assets"
    for path in folder.glob("*.gz"):
        if not path.name.startswith("licences"):
            total += path.stat().st_size
    print(f"the dashboard: {total:,} bytes, compressed")
    assert 20_000 < total < 100_000
