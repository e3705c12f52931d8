"""The dashboard in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent.parent
AXE = ROOT / "dashboard/node_modules/axe-core/axe.min.js"
WHERE_FROM = "chromium is missing: apt-get install chromium (Debian, Ubuntu), or name the program with PRIMACY_CHROMIUM"
FLAGS = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WAIT_MS = 20_000
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


def find_chromium() -> str:
    """Its path; without one the test is skipped, or fails where everything must be there."""
    found = os.environ.get("PRIMACY_CHROMIUM") or shutil.which("chromium")
    if found is None:
        _missing(WHERE_FROM)
        raise AssertionError
    return found


def need_bundle() -> None:
    """The dashboard must have been built, and what it is tested with be there."""
    if not AXE.exists():
        _missing("the dashboard was not built: python dashboard/bundle.py --again")


def _missing(why: str) -> None:
    if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
        pytest.fail(why)
    pytest.skip(why)


def artefacts(fallback: Path) -> Path:
    """Where screenshots go: a folder that outlives the test, if there is one."""
    folder = Path(os.environ.get("PRIMACY_ARTEFACTS") or fallback) / "dashboard"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page whose every request and complaint is noted."""

    def __init__(self, browser: Browser, address: str, **options: Any) -> None:
        self.origin = f"http://{address}"
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # A coordinator that is away, or has nothing measured yet, makes the browser complain of the answer.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, group: str = "", live: bool = True) -> Page:
        self.page.goto(f"{self.origin}/?group={group}" if group else f"{self.origin}/")
        if live:
            self.page.wait_for_selector("[data-health=live]")
        return self.page

    def check(self) -> None:
        """It asked its own origin alone, and nothing went wrong: no error, no breach of the policy of contents."""
        assert {url for url in self.requests if not url.startswith((self.origin + "/", "data:"))} == set()
        assert self.complaints == []


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is now: one line each, with the element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {json.dumps(node['html'][:160])}"
        for each in found["violations"]
        for node in each["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """Elements that make the page itself scroll sideways."""
    found: list[str] = page.evaluate(
        """() => {
          const wide = document.documentElement;
          if (wide.scrollWidth <= wide.clientWidth) return [];
          return [...document.querySelectorAll("body *")]
            .filter((each) => each.getBoundingClientRect().right > wide.clientWidth + 1)
            .filter((each) => !each.closest(".scroll, nav, .unseen"))
            .map((each) => `${each.tagName} ${each.id} ${each.textContent.slice(0, 40)}`);
        }"""
    )
    return found
