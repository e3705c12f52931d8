"""Documents made to hurt whoever reads them are refused, soon and in words."""

from __future__ import annotations

import pytest
from primacy_wire.documents import DEPTH_MAX, FORMATS, BadDocument, read


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b"[" * 5_000 + b"]" * 5_000,
        b"{" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"- " * 100_000 + b"a",
        b"? " * 100_000,
        b"\xff",
        b'{"a": 1' + b"0" * 5_000 + b"}",
        b"1" * 5_000,
        b"0x" + b"f" * 5_000,
        b"1e400",
        b'{"a": 1, "a": 2}',
        b"&a [*a, *a]",
        b"!!python/object/apply:os.system ['true']",
        b"a\0b",
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": ' + b"9" * 30 + b"}",
        b" " * ((1 << 20) + 1),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_would_hurt_is_refused(content: bytes, form: str) -> None:
    with pytest.raises(BadDocument) as caught:
        read(content, form)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_deep_but_not_too_deep_is_taken(form: str) -> None:
    deep = DEPTH_MAX - 1
    value = read(b"[" * deep + b"1" + b"]" * deep, form)
    for _ in range(deep):
        (value,) = value
    assert value == 1
