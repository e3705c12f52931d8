"""Who may ask what of the HTTP port."""

from __future__ import annotations

import pytest
from primacy_coordinator.web.guard import ACTION_HEADER, ACTIONS_CERTIFIED, ACTIONS_LOCAL, ACTIONS_OFF, Guard
from primacy_wire.errors import Denied
from starlette.datastructures import Headers

LOCAL = Guard("127.0.0.1:7480")
OPEN = Guard("0.0.0.0:7480", ["Primacy.Example.com."])


def headers(host: str = "127.0.0.1:7480", **more: str) -> Headers:
    return Headers({"host": host, **{name.replace("_", "-"): value for name, value in more.items()}})


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:7480", "localhost.", "a.localhost:80", "127.0.0.1:7480", "[::1]:7480", "10.1.2.3:7480"],
)
def test_names_that_nobody_else_can_have(host: str) -> None:
    LOCAL.check_host(headers(host))


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "localhost@evil.example", "evil/localhost",
     "localhost:port", "[::1", "primacy.example.com", "xlocalhost", "0x7f000001", "localhost localhost"],
)  # fmt: skip
def test_other_names_are_refused_and_say_what_to_set(host: str) -> None:
    with pytest.raises(Denied, match=r"http\.hosts") as caught:
        LOCAL.check_host(headers(host))
    assert caught.value.reason == "HOST_UNKNOWN"


def test_configured_names_are_known_however_they_are_written() -> None:
    OPEN.check_host(headers("primacy.example.com"))
    OPEN.check_host(headers("PRIMACY.example.com.:443"))
    Guard("primacy-1:7480").check_host(headers("primacy-1:7480"))


def test_programs_have_no_origin() -> None:
    LOCAL.check_origin(headers())
    LOCAL.check_origin(headers(sec_fetch_site="none"))


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:7480", "http://127.0.0.1:7480"),
        ("primacy.example.com", "https://primacy.example.com"),
        ("primacy.example.com:443", "https://primacy.example.com"),
        ("[::1]:7480", "http://[::1]:7480"),
    ],
)
def test_the_page_of_this_very_origin(host: str, origin: str) -> None:
    LOCAL.check_origin(headers(host, origin=origin, sec_fetch_site="same-origin"))


@pytest.mark.parametrize(
    "origin",
    ["null", "http://127.0.0.1:7481", "http://localhost:7480", "https://evil.example", "file://", "", "127.0.0.1:7480",
     "chrome-extension://127.0.0.1:7480", "http://127.0.0.1:7480@evil.example"],
)  # fmt: skip
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    with pytest.raises(Denied) as caught:
        LOCAL.check_origin(headers(origin=origin))
    assert caught.value.reason == "CROSS_ORIGIN"


@pytest.mark.parametrize("site", ["cross-site", "same-site", "odd"])
def test_the_browser_says_that_the_page_is_another_ones(site: str) -> None:
    with pytest.raises(Denied):
        LOCAL.check_origin(headers(sec_fetch_site=site))


def test_an_action_needs_its_header() -> None:
    LOCAL.check_action(headers(primacy_request="1"), dry_run=False)
    for more in ({}, {"primacy_request": "0"}):
        with pytest.raises(Denied, match=ACTION_HEADER) as caught:
            LOCAL.check_action(headers(**more), dry_run=True)
        assert caught.value.reason == "HEADER_MISSING"


@pytest.mark.parametrize(
    ("guard", "asked", "off"),
    [
        (LOCAL, headers(), ""),
        (LOCAL, headers("localhost:8080"), ""),  # forwarded by ssh
        (LOCAL, headers("10.1.2.3"), ACTIONS_LOCAL),
        (LOCAL, headers(x_forwarded_for="10.1.2.3"), ACTIONS_LOCAL),  # by a proxy that makes up the host
        (LOCAL, headers(forwarded="for=10.1.2.3"), ACTIONS_LOCAL),
        (OPEN, headers(), ACTIONS_LOCAL),
        (OPEN, headers("primacy.example.com"), ACTIONS_LOCAL),
        (Guard("0.0.0.0:7480", (), True), headers("10.1.2.3"), ""),
        (Guard("127.0.0.1:7480", (), False), headers(), ACTIONS_OFF),
        (Guard("127.0.0.1:7480", certified=True), headers(), ACTIONS_CERTIFIED),
        (Guard("127.0.0.1:7480", (), True, certified=True), headers(), ""),
    ],
)
def test_actions_are_for_this_machine_unless_the_settings_say_otherwise(guard: Guard, asked: Headers, off: str) -> None:
    assert guard.actions_off(asked) == off
    acting = Headers({**asked, ACTION_HEADER: "1"})
    guard.check_action(acting, dry_run=True)
    if off:
        with pytest.raises(Denied, match=r"dashboard\.actions"):
            guard.check_action(acting, dry_run=False)
    else:
        guard.check_action(acting, dry_run=False)
