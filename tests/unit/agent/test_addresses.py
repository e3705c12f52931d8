"""Endpoints as they are written, and what names stood for last."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from primacy_agent.dataplane.addresses import (
    Found,
    HostPort,
    Malformed,
    choose,
    locate,
    merged,
    names_in,
    parse_endpoint,
)
from primacy_agent.dataplane.kept_addresses import KeptAddresses
from primacy_agent.dataplane.resolving import Resolver, look_up
from primacy_agent.tasks import Tasks


@pytest.mark.parametrize(
    ("text", "host", "port", "literal"),
    [
        ("10.0.0.1:80", "10.0.0.1", 80, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("web.internal:8080", "web.internal", 8080, False),
        ("localhost:1", "localhost", 1, False),
    ],
)
def test_what_an_endpoint_may_be(text: str, host: str, port: int, literal: bool) -> None:
    endpoint = parse_endpoint(text)
    assert endpoint == HostPort(host, port)
    assert endpoint.is_literal is literal


@pytest.mark.parametrize(
    "text",
    ["", "web", "web:", ":80", "web:http", "web:0", "web:65536", "::1:80", "[web]:80", "[10.0.0.1:80", "http://web:80",
     "web/path:80", "we b:80", "[fe80::1%eth0]:80", "a@b:80", "web:８０",
     "web:" + "9" * 5000],
)  # fmt: skip
def test_what_is_no_endpoint_says_so(text: str) -> None:
    with pytest.raises(Malformed, match="is not an endpoint"):
        parse_endpoint(text)


@given(st.text())
def test_any_text_is_an_endpoint_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert parse_endpoint(text).port > 0


def test_ipv4_is_used_where_a_name_has_both() -> None:
    assert choose(["::1", "10.0.0.2", "10.0.0.1", "10.0.0.2"]) == ("10.0.0.1", "10.0.0.2")
    assert choose(["2001:db8::2", "::1"]) == ("::1", "2001:db8::2")
    assert choose([]) == ()


def test_a_failed_look_up_keeps_what_was_known() -> None:
    known = merged(None, ["10.0.0.1"], "")
    assert known == Found(("10.0.0.1",))
    assert merged(known, [], "it timed out") == Found(("10.0.0.1",), "it timed out")
    assert merged(known, [], "") == Found(("10.0.0.1",), "it has no address")
    assert merged(None, [], "no such host") == Found((), "no such host")


def test_each_region_is_located_or_has_its_problem() -> None:
    endpoints = (("a", "10.0.0.1:80"), ("b", ""), ("c", "c.internal:80"), ("d", "d.internal:80"), ("e", "e"))
    assert names_in(endpoints) == {"c.internal", "d.internal"}
    places = locate(endpoints, {"c.internal": Found(("10.0.0.3", "10.0.0.4"), "it timed out")})
    assert dict(places.addresses) == {"a": (("10.0.0.1", 80),), "c": (("10.0.0.3", 80), ("10.0.0.4", 80))}
    assert places.waiting == {"d"}
    assert "no endpoint" in places.problems["b"]
    assert "last addresses are kept" in places.problems["c"]
    assert "is not an endpoint" in places.problems["e"]


async def test_names_are_looked_up_again_and_survive_a_failure() -> None:
    answers: dict[str, list[str] | OSError] = {"web.internal": ["10.0.0.1"]}
    changes: asyncio.Queue[None] = asyncio.Queue()

    def lookup(host: str) -> list[str]:
        answer = answers[host]
        if isinstance(answer, OSError):
            raise answer
        return answer

    resolver = Resolver(0.01, lambda: changes.put_nowait(None), lookup)
    resolver.follow((("us", "web.internal:80"), ("eu", "10.0.0.9:80")))
    assert resolver.places.waiting == {"us"}
    await changes.get()
    assert resolver.places.addresses["us"] == (("10.0.0.1", 80),)
    answers["web.internal"] = socket.gaierror(-3, "Temporary failure in name resolution")
    await changes.get()
    assert resolver.places.addresses["us"] == (("10.0.0.1", 80),)
    assert "Temporary failure" in resolver.places.problems["us"]
    answers["web.internal"] = ["10.0.0.2", "10.0.0.3"]
    await changes.get()
    assert resolver.places.addresses["us"] == (("10.0.0.2", 80), ("10.0.0.3", 80))
    assert not resolver.places.problems
    resolver.follow((("eu", "10.0.0.9:80"),))
    assert dict(resolver.places.addresses) == {"eu": (("10.0.0.9", 80),)}
    resolver.close()


async def test_the_systems_resolver_is_asked_and_its_no_is_a_problem_not_an_exception() -> None:
    assert look_up("localhost")
    changed = asyncio.Event()
    resolver = Resolver(60, changed.set)
    resolver.follow((("us", "localhost:80"), ("eu", "a..b:80"), ("ap", f"{'x' * 80}.internal:80")))
    while resolver.places.waiting:
        await changed.wait()
        changed.clear()
    assert resolver.places.addresses.keys() == {"us"}
    assert resolver.places.problems.keys() == {"eu", "ap"}
    resolver.close()


async def test_what_names_stood_for_serves_the_next_life_while_they_cannot_be_looked_up(tmp_path: Path) -> None:
    answers = {"web.internal": ["10.0.0.1"], "db.internal": ["10.0.0.5"]}
    changes: asyncio.Queue[None] = asyncio.Queue()

    def lookup(host: str) -> list[str]:
        if host not in answers:
            raise socket.gaierror(-3, "Temporary failure in name resolution")
        return answers[host]

    async def life() -> tuple[Tasks, Resolver]:
        tasks = Tasks()
        resolver = Resolver(60, lambda: changes.put_nowait(None), lookup, KeptAddresses(tmp_path, tasks))
        resolver.follow((("us", "web.internal:80"), ("eu", "db.internal:80"), ("ap", "new.internal:80")))
        while resolver.places.waiting:
            await changes.get()
        return tasks, resolver

    for expected in ({"us": "10.0.0.1", "eu": "10.0.0.5"}, {"us": "10.0.0.1", "eu": "10.0.0.6"}):
        tasks, resolver = await life()
        assert {region: ips[0][0] for region, ips in resolver.places.addresses.items()} == expected
        await tasks.stop()
        resolver.close()
        # In the next life one name cannot be looked up, and the other has moved.
        answers = {"db.internal": ["10.0.0.6"]}
    assert "its last addresses are kept" in resolver.places.problems["us"]
    assert "kept" not in resolver.places.problems["ap"]


@pytest.mark.parametrize("content", ["", "[]", '{"addresses": {"web.internal": ["nowhere"]}}', '{"addresses": 3}'])
async def test_kept_addresses_that_are_damaged_are_left_aside(tmp_path: Path, content: str) -> None:
    (tmp_path / "addresses.json").write_text(content)
    assert KeptAddresses(tmp_path, Tasks()).earlier == {}
