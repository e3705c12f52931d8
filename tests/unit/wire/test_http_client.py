"""One request over real sockets: bounded in time and size, over TLS too, and each failure has its words."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from primacy_wire.http_client import BODY_BYTES_MAX, HttpFailure, check_url, request, shown_url


@asynccontextmanager
async def server(answer: bytes, context: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with made:
        yield made.sockets[0].getsockname()[1], heard


async def test_an_answer_is_returned_whatever_its_status() -> None:
    async with server(b"HTTP/1.1 429 Later\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno") as (port, heard):
        answer = await request("POST", f"http://ann:p%40ss@127.0.0.1:{port}/a?b=c", b"{}", {"X-Y": "z"})
    assert (answer.status, answer.body, answer.retry_after) == (429, b"no", "7")
    head = heard[0].decode().lower()
    assert head.startswith("post /a?b=c http/1.1") and "x-y: z" in head and "content-length: 2" in head
    assert "authorization: basic yw5uonbac3m=" in head, "ann:p@ss"
    assert f"host: 127.0.0.1:{port}" in head


async def test_a_long_answer_is_cut() -> None:
    size = BODY_BYTES_MAX * 3
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as (port, _):
        assert len((await request("GET", f"http://127.0.0.1:{port}/")).body) == BODY_BYTES_MAX


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "ended"),
        (b"SSH-2.0-x\r\n\r\n", "no answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "no answer in HTTP"),
    ],
)
async def test_what_is_no_answer(answer: bytes, words: str) -> None:
    async with server(answer) as (port, _):
        with pytest.raises(HttpFailure, match=words):
            await request("GET", f"http://127.0.0.1:{port}/")


async def test_nobody_listens_or_nobody_answers() -> None:
    async with server(b"") as (port, _):
        pass
    with pytest.raises(HttpFailure, match="refused"):
        await request("GET", f"http://127.0.0.1:{port}/")
    silent = await asyncio.start_server(lambda _, __: asyncio.sleep(3600), "127.0.0.1", 0)
    with pytest.raises(HttpFailure, match=r"no answer within 0\.1 s"):
        await request("GET", f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}/", timeout_s=0.1)
    silent.close()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://a:9093", ""),
        ("https://a/b?c=d", ""),
        ("ftp://a", "begins with"),
        ("a:9093", "begins with"),
        ("http://", "host"),
        ("http://a:0", "port"),
        ("http://a:99999", "port"),
        ("http://a b", "spaces"),
        ("http://a#b", "fragment"),
    ],
)
def test_urls(url: str, fault: str) -> None:
    assert fault in check_url(url) if fault else not check_url(url)


def test_what_is_secret_in_a_url_is_not_shown() -> None:
    assert shown_url("https://ann:secret@a:1/b?token=c") == "https://a:1/b?..."
    assert shown_url("https://hooks.example/services/T0/s3cret", path=False) == "https://hooks.example/..."
    assert shown_url("https://hooks.example/", path=False) == "https://hooks.example/"


async def test_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", context) as (port, _):
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert (await request("GET", f"https://127.0.0.1:{port}/", trusted=trusted)).body == b"ok"
        with pytest.raises(HttpFailure, match="certificate verify failed"):
            await request("GET", f"https://127.0.0.1:{port}/")
