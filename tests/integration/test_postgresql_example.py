"""examples/postgresql, as its page says, on real servers: promoted after kill -9, fenced and following on return."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.clusters import until
from tests.integration.postgresqls import Pair, Refused, find_programs, page_blocks, refused

pytestmark = pytest.mark.integration
HOW = "apt-get install postgresql curl (Debian, Ubuntu), or your package manager"
POLICY = {"leaseTtl": "3s", "reportInterval": "0.25s", "grace": "0.5s", "firstWait": "3s", "stableFor": "1s",
          "holdDown": "1s", "coolDown": "0s", "switchoverTimeout": "60s"}  # fmt: skip


@pytest.fixture
def pair() -> Iterator[Pair]:
    programs = find_programs()
    if programs is None or shutil.which("curl") is None:
        if os.environ.get("PRIMACY_TEST_REQUIRE") == "all":
            pytest.fail(f"PostgreSQL (with pg_rewind) or curl is missing: {HOW}")
        pytest.skip(f"PostgreSQL (with pg_rewind) or curl is missing: {HOW}")
    # Not below pytest's own folder, which only its owner may enter; and short, for the server's socket.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    folder.chmod(0o755)
    pair = Pair(folder, programs, POLICY)
    try:
        pair.set_up()
        pair.start()
        yield pair
    finally:
        print("\n".join(server.logs() for server in pair.servers.values()))  # Shown when the test has failed.
        pair.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_region_dies_and_its_server_comes_back_as_a_standby(pair: Pair) -> None:
    eu, us = pair.eu, pair.us
    # The first election promotes one of two standbys, and the other follows it.
    first = pair.expect_active("eu")
    assert eu.sql("SELECT pg_is_in_recovery()") == "f"
    until(us.is_standby, "us follows", 60)
    (text,) = [text for where, text in page_blocks() if where == "active"]
    eu.page_command(text)
    eu.write(first, "some salt")
    until(lambda: us.orders() == ["a loaf", "some salt"], "us has the orders")
    assert "is fenced" in refused(lambda: eu.write(first - 1, "from before"))
    assert "(none) is fenced" in refused(lambda: eu.sql("INSERT INTO orders (what) VALUES ('without an epoch')"))
    until(lambda: us.agent.page("/standby?max_lag=10s")[0] == 200, "us is a standby for proxies")
    assert us.agent.page("/active")[0] == 503

    # The region dies with the server and the agent. The hook promotes the other.
    eu.kill()
    second = pair.expect_active("us")
    assert second > first
    assert us.sql("SELECT pg_is_in_recovery()") == "f"
    assert us.orders() == ["a loaf", "some salt"]
    us.write(second, "a cup")
    # A client of the old region that thaws now is refused by its epoch.
    assert f"PR001: epoch {first} is fenced: this database takes writes from epoch {second} on" in refused(
        lambda: us.write(first, "too late")
    )
    hooks = until(lambda: pair.operator("primacy history -o json"), "a history")
    assert "promoting the standby for epoch" in hooks

    # The old server comes back in the worst way: started by hand, as the primary that it was.
    (eu.folder / "hold").touch()
    eu.supervise("start-by-hand")
    eu.write(first, "split")
    eu.agent.start()
    until(lambda: "is fenced" in refused(lambda: eu.write(first, "stale")), "writes of the old epoch refused in eu", 60)
    assert eu.agent.active().epoch >= first and not eu.agent.active().active
    (eu.folder / "hold").unlink()
    # It is stopped, wound back over what it alone had, and follows.
    until(eu.is_standby, "eu follows", 90)
    until(lambda: eu.orders() == us.orders() == ["a loaf", "some salt", "a cup"], "both have the same", 60)
    with pytest.raises(Refused, match="read-only transaction"):
        eu.write(second, "to a standby")
    until(lambda: eu.agent.page("/standby?max_lag=10s")[0] == 200, "eu is a standby for proxies", 60)
    assert us.agent.active().epoch == second

    # And back on purpose, by the page, without losing anything.
    until(lambda: pair.is_healthy("eu"), "eu is well again", 60)
    us.write(second, "a plate")
    (text,) = [text for where, text in page_blocks() if where == "operator"]
    shown = pair.operator(text.replace("--to us", "--to eu"))
    assert "succeeded" in shown.lower()
    third = pair.expect_active("eu")
    assert third > second
    assert eu.orders() == ["a loaf", "some salt", "a cup", "a plate"]
    eu.write(third, "a fork")
    until(us.is_standby, "us follows again", 90)
    until(lambda: us.orders() == eu.orders(), "both have the same again", 60)
