"""The dashboard's files from memory: encodings, ETags, and what browsers may keep."""

from __future__ import annotations

from pathlib import Path

import pytest
from primacy_coordinator.web.static import Asset, load_assets
from starlette.requests import Request
from starlette.responses import Response


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (
        ("index.html", b"<p>page"),
        ("index.html.br", b"BR"),
        ("index.html.gz", b"GZ"),
        ("app-0123ABCD.js", b"script"),
        ("licences.txt", b"MIT"),
        ("bundle.json", b"{}"),
        (".secret", b"no"),
        ("odd.exe", b"no"),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def ask(asset: Asset, **headers: str) -> Response:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return asset.answer(Request({"type": "http", "method": "GET", "headers": raw}))


def test_only_what_the_page_needs_is_served(folder: Path) -> None:
    assert set(load_assets(folder)) == {"index.html", "app-0123ABCD.js", "licences.txt"}


def test_without_a_page_there_is_no_bundle(folder: Path) -> None:
    (folder / "index.html").unlink()
    assert load_assets(folder) == {}
    assert load_assets(folder / "absent") == {}


@pytest.mark.parametrize(
    ("accepted", "body", "encoding"),
    [
        ("", b"<p>page", None),
        ("gzip, deflate, br, zstd", b"BR", "br"),
        ("gzip", b"GZ", "gzip"),
        ("GZIP;q=0.5, br;q=0", b"GZ", "gzip"),
        ("br;q=odd, identity", b"<p>page", None),
        ("*", b"<p>page", None),
    ],
)
def test_the_best_encoding_that_the_browser_takes(
    folder: Path, accepted: str, body: bytes, encoding: str | None
) -> None:
    answer = ask(load_assets(folder)["index.html"], accept_encoding=accepted)
    assert answer.body == body
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_names_with_a_hash_are_kept_and_the_page_is_asked_for_again(folder: Path) -> None:
    assets = load_assets(folder)
    assert "immutable" in ask(assets["app-0123ABCD.js"]).headers["cache-control"]
    assert ask(assets["index.html"]).headers["cache-control"] == "no-cache"
    assert ask(assets["licences.txt"]).headers["cache-control"] == "no-cache"


def test_what_the_browser_has_is_not_sent_again(folder: Path) -> None:
    page = load_assets(folder)["index.html"]
    plain, packed = ask(page).headers["etag"], ask(page, accept_encoding="br").headers["etag"]
    assert plain != packed
    same = ask(page, if_none_match=f'"other", W/{packed}', accept_encoding="br")
    assert (same.status_code, same.body, same.headers["etag"]) == (304, b"", packed)
    assert ask(page, if_none_match=plain, accept_encoding="br").status_code == 200
    (folder / "index.html.br").write_bytes(b"NEW")
    assert ask(load_assets(folder)["index.html"], if_none_match=packed, accept_encoding="br").body == b"NEW"
