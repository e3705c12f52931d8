"""What docs/probes.md shows is what an agent takes, and what it lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import fields
from primacy_agent.config import load_config
from primacy_agent.core.mapping import COUNTERS, KNOWN, Combine, Missing
from primacy_agent.core.probing import NOT_OWED
from primacy_agent.probe_config import OWN_NAME, ProbeConfig, SeriesConfig
from primacy_agent.probes.page_looks import OUTPUT_BYTES_MAX

HOME = Path(__file__).parents[3]
PAGE = (HOME / "docs" / "probes.md").read_text()
PIECES = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KINDS = {"process", "tcp", "http", "grpc", "exec", "prometheus"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables that begin with this heading."""
    tables = [rest.split("\n\n", 1)[0] for rest in PAGE.split(f"\n| {heading} |")[1:]]
    lines = [line for table in tables for line in table.splitlines()[2:]]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def words(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("piece", PIECES, ids=range(len(PIECES)))
def test_every_piece_is_taken(piece: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(f"region: eu\n{piece}")
    assert load_config(str(file), {}, {}).probes


def test_every_kind_is_shown(tmp_path: Path) -> None:
    assert {kind for piece in PIECES for kind in re.findall(r"kind: (\w+)", piece)} == KINDS
    assert {kind for row in rows("you want to know") for kind in words(row[1]) if kind in KINDS} == KINDS
    for anchor in re.findall(r"\]\(#([^)]+)\)", PAGE):
        headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_defaults_shown_are_the_defaults(tmp_path: Path) -> None:
    whole = next(piece for piece in PIECES if "jitter" in piece)
    short = "probes:\n  - {name: web, kind: http, url: 'http://127.0.0.1:8080/healthz'}\n"
    taken = []
    for piece in (whole, short):
        (tmp_path / "agent.yaml").write_text(f"region: eu\n{piece}")
        taken.append(load_config(str(tmp_path / "agent.yaml"), {}, {}).probes)
    assert taken[0] == taken[1]
    for field in fields(ProbeConfig):
        assert re.search(rf"\b{field.encode_name}\b", PAGE), f"{field.encode_name} is not on the page"


def test_every_name_and_key_is_listed_as_it_is() -> None:
    listed = {name: row[1] for row in rows("name") for name in words(row[0])}
    assert set(listed) == set(KNOWN)
    assert {name for name, kind in listed.items() if kind.startswith("counter")} == set(COUNTERS)
    keys = {words(row[0])[0]: row for row in rows("key of a series")}
    assert set(keys) == {field.encode_name for field in fields(SeriesConfig)}
    assert set(words(keys["combine"][1])) == {each.value for each in Combine}
    assert set(words(keys["ifMissing"][1])) == {each.value for each in Missing}
    assert OWN_NAME.fullmatch("abcxyz019_")


def test_what_is_quoted_is_said() -> None:
    assert f"`{NOT_OWED}`" in PAGE
    assert OUTPUT_BYTES_MAX == 1024 * 1024
    assert "more than 1 MiB" in PAGE
    source = "".join(file.read_text() for file in (HOME / "agent" / "primacy_agent").rglob("*.py"))
    for row in rows("message"):
        for part in re.split(r"'?…'?", row[0]):
            assert part.strip() in source, part
