"""The dashboard when what it hears is odd: a stream that the test speaks itself, and a clock that the test moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from primacy.v1 import region_service_pb2 as regions
from primacy.v1.region_service_pb2_grpc import RegionServiceStub
from primacy_wire.channel import make_sync_channel

from tests.e2e.browsers import PHONE, WAIT_MS, chromium, need_bundle, too_wide
from tests.integration.coordinators import CoordinatorProcess
from tests.integration.test_http_port import STATUS, call

pytestmark = [pytest.mark.integration, pytest.mark.needs("chromium")]

SPOKEN = """
window.streams = [];
window.EventSource = class extends EventTarget {
  static CONNECTING = 0; static OPEN = 1; static CLOSED = 2;
  constructor(url) {
    super();
    this.url = new URL(url, location).href;
    this.readyState = 0;
    streams.push(this);
  }
  close() { this.readyState = 2; }
  open() { this.readyState = 1; this.onopen?.(); }
  say(kind, data) { this.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(data) })); }
  refuse() { this.readyState = 2; this.onerror?.(); }
};
"""
HIDEABLE = """
window.unseen = false;
Object.defineProperty(document, "hidden", { get: () => window.unseen });
window.hide = (unseen) => { window.unseen = unseen; document.dispatchEvent(new Event("visibilitychange")); };
"""
LONG = "a" * 63
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    need_bundle()
    process = CoordinatorProcess(tmp_path_factory.mktemp("stream") / "state")
    process.start()
    with make_sync_channel(process.grpc) as channel:
        for name in ("eu", LONG):
            RegionServiceStub(channel).RegisterRegion(regions.RegisterRegionRequest(region={"name": name}))
    yield process
    process.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


class Spoken:
    """A page that hears what the test says."""

    def __init__(self, context: BrowserContext, coordinator: CoordinatorProcess) -> None:
        self.status: dict[str, Any] = call(coordinator.http, STATUS, {}).json
        self.page: Page = context.new_page()
        self.page.add_init_script(SPOKEN)
        self.page.clock.install(time=START)
        self.page.clock.pause_at(START + timedelta(seconds=1))
        self.page.goto(f"http://{coordinator.http}/")
        self.page.wait_for_function("streams.length === 1")
        self.page.evaluate("streams[0].open()")

    def say(self, kind: str, /, **data: Any) -> None:
        self.page.evaluate("([kind, data]) => streams.at(-1).say(kind, data)", [kind, data])

    def hello(self, time: datetime = START) -> None:
        about = {"group": "default", "version": "1", "grpc": "127.0.0.1:1", "actions": True, "actionsOff": ""}
        self.say("hello", **about, time=time.isoformat())

    def tell(self, **changes: Any) -> None:
        """Say a status."""
        self.say("status", **{**self.status, **changes})

    def live(self) -> None:
        self.hello()
        self.tell()
        expect(self.page.locator("[data-test=connection]")).to_have_attribute("data-health", "live")

    def streams(self) -> list[str]:
        """The addresses of all streams that the page has opened."""
        found: list[str] = self.page.evaluate("streams.map((each) => each.url)")
        return found


@pytest.fixture
def spoken(context: BrowserContext, coordinator: CoordinatorProcess) -> Spoken:
    return Spoken(context, coordinator)


def test_a_store_in_trouble_is_no_lost_connection(spoken: Spoken) -> None:
    """The coordinator says once a second that it cannot say: it is there, and the stream is not begun anew."""
    spoken.live()
    for _ in range(20):
        spoken.say(
            "trouble", code="UNAVAILABLE", message="the store cannot be read", reason="STORE", metadata={}, fields=[]
        )
        spoken.page.clock.run_for(1000)
    banners = spoken.page.locator("[data-test=banner]")
    expect(banners.filter(has_text="the store cannot be read")).to_contain_text("as it last was")
    expect(banners.filter(has_text="Disconnected")).to_have_count(0)
    expect(banners.filter(has_text="nothing came")).to_have_count(0)
    expect(spoken.page.locator("[data-test=connection]")).to_have_attribute("data-health", "stale")
    assert len(spoken.streams()) == 1
    spoken.tell()
    expect(banners.filter(has_text="cannot be read")).to_have_count(0)


@pytest.mark.parametrize(
    ("status", "said", "shown"),
    [
        (404, {"code": "NOT_FOUND", "message": "there is no group 'default'", "reason": "GROUP_NOT_FOUND"}, "no group"),
        (429, {"code": "RESOURCE_EXHAUSTED", "message": "500 streams are open already", "reason": "X"}, "500 streams"),
        (502, None, "HTTP 502"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_why_a_stream_is_refused_is_shown(
    spoken: Spoken, status: int, said: dict[str, str] | None, shown: str, before: bool
) -> None:
    """Also where a status was shown before: a group that was deleted is not a coordinator that is gone."""

    def refuse(route: Route) -> None:
        route.fulfill(status=status, body="<html>" if said is None else json.dumps(said))

    if before:
        spoken.live()
    spoken.page.route("**/api/stream*", refuse)
    spoken.page.evaluate("streams[0].refuse()")
    banners = spoken.page.locator("[data-test=banner]")
    expect(banners.filter(has_text=shown)).to_have_count(1)
    expect(banners.filter(has_text="Disconnected")).to_have_count(0)
    spoken.page.clock.run_for(2000)
    spoken.page.wait_for_function("streams.length === 2")  # It tries again.
    spoken.page.evaluate("streams.at(-1).open()")
    spoken.hello()
    spoken.tell()
    expect(banners.filter(has_text=shown)).to_have_count(0)


def test_another_store_has_another_journal(spoken: Spoken) -> None:
    spoken.live()
    event = {"time": START.isoformat(), "severity": "SEVERITY_INFO", "kind": "x", "epoch": "0", "region": ""}
    spoken.say("journal", **event, sequence="700", message="of the store before")
    expect(spoken.page.locator("[data-test=event]")).to_have_count(1)
    spoken.tell(coordinator={**spoken.status["coordinator"], "storeId": "another"})
    expect(spoken.page.locator("[data-test=event]")).to_have_count(0)
    addresses = spoken.streams()
    assert len(addresses) == 2
    assert "after=" not in addresses[1]


def test_an_hour_is_an_hour_also_where_the_browsers_clock_is_wrong(spoken: Spoken) -> None:
    """With no lease that would say the time: while no region is active one wants to act, too."""
    asked: list[str] = []

    def note(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or "{}")["expireTime"])
        route.fulfill(json={"pause": {}})

    spoken.page.route("**/PauseElection", note)
    theirs = START + timedelta(hours=-5)
    spoken.hello(theirs)
    spoken.tell(lease=None)
    spoken.page.get_by_role("button", name="Pause moves…").click()
    spoken.page.clock.run_for(200)
    expect(spoken.page.locator("[data-test=preview]")).to_have_attribute("aria-busy", "false")
    ends = datetime.fromisoformat(asked[0])
    assert theirs + timedelta(hours=1) <= ends < theirs + timedelta(hours=1, minutes=5)


def test_a_laptop_that_slept_shows_nothing_as_live(spoken: Spoken) -> None:
    spoken.live()
    # The clock on the wall went on, and what counts the seconds since the last status did not.
    spoken.page.clock.set_system_time(START + timedelta(hours=8))
    spoken.page.clock.run_for(400)
    expect(spoken.page.locator("[data-test=connection]")).to_have_attribute("data-health", "lost")
    expect(spoken.page.locator("[data-test=connection]")).to_contain_text(" h")
    assert len(spoken.streams()) == 2


def test_one_panel_that_cannot_read_an_answer_leaves_the_others(spoken: Spoken) -> None:
    """As of a coordinator of another version."""
    spoken.hello()
    spoken.tell(overrides=[{"kind": 7, "weights": 1, "expireTime": {}, "reason": {"odd": 1}, "owner": None}])
    broken = spoken.page.locator("[data-test=broken]")
    expect(broken.first).to_contain_text("cannot be shown")
    expect(spoken.page.locator("[data-test=region]")).to_have_count(2)
    spoken.tell()
    for _ in range(broken.count()):
        broken.first.get_by_role("button", name="Try again").click()
    expect(broken).to_have_count(0)
    expect(spoken.page.locator("#overrides")).to_contain_text("the policy alone decides")


def test_an_action_without_an_answer_is_not_said_to_have_failed(spoken: Spoken) -> None:

    def answer(route: Route) -> None:
        if "validateOnly" in (route.request.post_data or ""):
            route.fulfill(json={"steps": ["take its traffic off"], "region": {}})
        else:
            route.abort()

    spoken.page.route("**/DrainRegion", answer)
    spoken.live()
    spoken.page.get_by_role("button", name="Drain eu…").click()
    spoken.page.clock.run_for(200)
    dialog = spoken.page.locator("[data-test=dialog]")
    dialog.locator("input[name=reason]").fill("a test")
    spoken.page.clock.run_for(200)
    do = dialog.locator("[data-test=do]")
    expect(do).to_be_enabled()
    do.click()
    expect(dialog.locator("[data-test=unknown]")).to_contain_text("may have been done")


def test_what_an_action_would_do_is_asked_again_while_its_dialog_is_open(spoken: Spoken) -> None:
    steps = [["let go of eu"]]

    def answer(route: Route) -> None:
        route.fulfill(json={"steps": steps[0], "region": {}})

    spoken.page.route("**/DrainRegion", answer)
    spoken.live()
    spoken.page.get_by_role("button", name="Drain eu…").click()
    shown = spoken.page.locator("[data-test=steps] li")
    spoken.page.clock.run_for(200)
    expect(shown).to_have_text(steps[0])
    steps[0] = ["nobody takes over"]
    spoken.page.clock.run_for(6000)
    expect(shown).to_have_text(steps[0])
    expect(spoken.page.locator("[data-test=preview]")).to_contain_text("has changed")


def test_an_enter_that_is_held_down_does_nothing(spoken: Spoken) -> None:
    """Not even where no reason is asked for."""
    pause = {"kind": "OVERRIDE_KIND_PAUSE", "region": "", "owner": "ada", "reason": "a test", "remaining": "60s"}
    done: list[str] = []
    spoken.page.route("**/ResumeElection", lambda route: (done.append("resumed"), route.fulfill(json={}))[0])
    spoken.hello()
    spoken.tell(overrides=[{**pause, "expireTime": START.isoformat(), "weights": {}, "drainState": ""}])
    button = spoken.page.get_by_role("button", name="Resume moves…")
    button.focus()
    spoken.page.keyboard.press("Enter")
    spoken.page.clock.run_for(200)
    dialog = spoken.page.locator("[data-test=dialog]")
    expect(dialog).to_be_visible()
    spoken.page.keyboard.press("Enter")
    spoken.page.clock.run_for(200)
    expect(dialog.locator("[data-test=do]")).to_be_enabled()
    assert done == []
    dialog.locator("[data-test=do]").press("Enter")
    expect(dialog.locator("[data-test=result]")).to_contain_text("Done")
    assert done == ["resumed"]


def test_weights_are_never_more_than_all(spoken: Spoken) -> None:
    """Means of a step in which reads moved from one region to another."""
    times = [(START - timedelta(seconds=each)).isoformat() for each in (2, 1)]

    def answer(route: Route) -> None:
        series = [
            {"region": "eu", "targetRegion": target, "points": [{"time": time, "value": value} for time in times]}
            for target, value in (("eu", 0.75), (LONG, 1))
        ]
        route.fulfill(json={"series": series, "step": "1s", "metric": {"unit": "share", "description": ""}})

    spoken.page.route("**/QueryMetrics", answer)
    rows = [{"clientRegion": "eu", "weights": {"eu": 0, LONG: 1}, "causes": {}}]
    spoken.hello()
    spoken.tell(readWeights={"strategy": "", "rows": rows})
    spoken.page.clock.run_for(200)
    expect(spoken.page.locator("#weights .legend button .value")).to_have_text(["43 %", "57 %"])


def test_names_of_any_length_fit(spoken: Spoken) -> None:
    drain = {"kind": "OVERRIDE_KIND_DRAIN", "region": LONG, "owner": "o" * 90, "reason": "r" * 300, "remaining": "9s"}
    ends = START.isoformat()
    override = {**drain, "expireTime": ends, "weights": {}, "drainState": "DRAIN_STATE_DRAINING"}
    phases = [{"name": "awaiting-approval", "startTime": ends, "note": "n" * 90}]
    move = {"id": "f-1", "state": "FAILOVER_STATE_AWAITING_APPROVAL", "kind": "FAILOVER_KIND_FORCED", "phases": phases}
    move |= {"fromRegion": "eu", "toRegion": LONG, "cause": "c" * 200, "startTime": ends, "epoch": "0", "reason": ""}
    spoken.page.set_viewport_size({**PHONE, "width": 360})
    spoken.hello()
    spoken.tell(overrides=[override], failover=move)
    expect(spoken.page.locator("[data-test=override]")).to_be_visible()
    expect(spoken.page.locator("[data-test=running]")).to_be_visible()
    assert too_wide(spoken.page) == []
    expect(spoken.page.locator("[data-test=zone]")).to_contain_text("UTC")


def test_many_tabs_leave_each_other_room(context: BrowserContext, coordinator: CoordinatorProcess) -> None:
    """A browser has six connections to one place: without room not even the page of a seventh tab would come."""
    context.add_init_script(HIDEABLE)
    tabs: list[Page] = []
    for _ in range(8):
        if tabs:
            tabs[-1].evaluate("hide(true)")
        tabs.append(context.new_page())
        tabs[-1].goto(f"http://{coordinator.http}/")
        tabs[-1].wait_for_selector("[data-health=live]")
    expect(tabs[0].locator("[data-test=connection]")).to_have_attribute("data-health", "lost")
    tabs[-1].evaluate("hide(true)")
    tabs[0].evaluate("hide(false)")
    expect(tabs[0].locator("[data-test=connection]")).to_have_attribute("data-health", "live")
