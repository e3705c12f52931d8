"""Settings from file, environment and flags: who wins, and what is said when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from primacy_wire.durations import Duration
from primacy_wire.settings import ConfigError, load

Write = Callable[[str], str]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the schemas below."""


class Tls(Strict):
    certificate: str = ""
    key: str = ""


class Http(Strict, tag_field="kind", tag="http"):
    url: str
    timeout: Duration = Duration.of(0.5)


class Process(Strict, tag_field="kind", tag="process"):
    pid_file: Path


class Region(Strict):
    name: str
    weight: Annotated[float, msgspec.Meta(ge=0)] = 1.0


class Settings(Strict, rename="camel"):
    listen: str = "127.0.0.1:7400"
    interval: Duration = Duration.of("1s")
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    ratio: float = 0.5
    verbose: bool = False
    log_level: Literal["debug", "info"] = "info"
    state_dir: Path = Path("state")
    coordinators: tuple[str, ...] = ()
    tls: Tls | None = None
    regions: list[Region] = []
    probes: list[Http | Process] = []
    labels: dict[str, str] = {}

    def __post_init__(self) -> None:
        if self.workers > 8 and not self.verbose:
            raise ValueError("workers above 8 need verbose")


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> str:
        Path("p.yaml").write_text(text, encoding="utf-8")
        return "p.yaml"

    return write


def problems(path: str | None, **rest: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(Settings, path, "PRIMACY_TEST", **rest)
    return list(caught.value.problems)


def test_nothing_given_means_the_defaults() -> None:
    assert load(Settings) == Settings()


def test_a_whole_file(write: Write) -> None:
    path = write(
        """
        listen: "[::1]:7400"
        interval: 250ms
        ratio: 1
        logLevel: debug
        stateDir: /var/lib/primacy
        coordinators: [a:1, b:2]
        tls: {certificate: c.pem}
        regions:
          - name: no        # Norway
          - {name: on, weight: 2.5}
        probes:
          - kind: http
            url: http://x
            timeout: 1.5
          - {kind: process, pid_file: /run/x.pid}
        labels: {yes: no, 1: "2"}
        """
    )
    assert load(Settings, path) == Settings(
        listen="[::1]:7400",
        interval=Duration(250_000_000),
        ratio=1.0,
        log_level="debug",
        state_dir=Path("/var/lib/primacy"),
        coordinators=("a:1", "b:2"),
        tls=Tls("c.pem"),
        regions=[Region("no"), Region("on", 2.5)],
        probes=[Http("http://x", Duration(1_500_000_000)), Process(Path("/run/x.pid"))],
        labels={"yes": "no", "1": "2"},
    )


def test_flags_win_over_environment_over_file_over_defaults(write: Write) -> None:
    path = write("workers: 3\nratio: 0.1\ninterval: 2\ntls: {certificate: file, key: file}\n")
    environ = {
        "PRIMACY_TEST_WORKERS": "4",
        "PRIMACY_TEST_INTERVAL": "3s",
        "PRIMACY_TEST_TLS__KEY": "env",
        "PRIMACY_TEST_COORDINATORS": "a:1, b:2",
        "PRIMACY_TEST_LOG_LEVEL": "debug",
        "OTHER": "x",
    }
    flags = {"interval": "4s", "verbose": "true", "ratio": None}
    assert load(Settings, path, "PRIMACY_TEST", environ, flags) == Settings(
        workers=4,
        ratio=0.1,
        interval=Duration.of(4),
        verbose=True,
        log_level="debug",
        tls=Tls("file", "env"),
        coordinators=("a:1", "b:2"),
    )


def test_every_fault_is_named_with_its_line(write: Write) -> None:
    path = write(
        """listen: 5
workers: 99
regions:
  - name: eu
    weigth: 2
  - name: us
    weight: -1
intervall: 3s
interval: soon
probes:
  - kind: http
    url: http://x
    timout: 3
tls:
  certifcate: x
"""
    )
    assert sorted(problems(path)) == [
        "p.yaml:13: probes[0].timout: unknown key (did you mean timeout?)",
        "p.yaml:15: tls.certifcate: unknown key (did you mean certificate?)",
        "p.yaml:1: listen: expected `str`, got `int`",
        "p.yaml:2: workers: expected `int` <= 64",
        "p.yaml:5: regions[0].weigth: unknown key (did you mean weight?)",
        "p.yaml:7: regions[1].weight: expected `float` >= 0.0",
        "p.yaml:8: intervall: unknown key (did you mean interval?)",
        'p.yaml:9: interval: must be seconds, or a text like "2.5s", "500ms", "1m30s"',
    ]


def test_what_is_missing_is_named(write: Write) -> None:
    assert problems(write("regions:\n  - weight: 1\n")) == ["p.yaml:2: regions[0]: `name` is missing"]
    assert problems(write("probes:\n- kind: carrier-pigeon\n")) == [
        "p.yaml:2: probes[0].kind: invalid value 'carrier-pigeon'"
    ]


def test_settings_that_do_not_fit_together(write: Write) -> None:
    assert problems(write("workers: 9\n")) == ["p.yaml:1: workers above 8 need verbose"]


def test_faults_in_environment_and_flags_name_their_source() -> None:
    environ = {"PRIMACY_TEST_WORKER": "4", "PRIMACY_TEST_RATIO": "much", "PRIMACY_TEST_COORDINATORS": "[a"}
    flags = {"workers": "0", "verbos": "true"}
    assert sorted(problems(None, environ=environ, overrides=flags)) == [
        "PRIMACY_TEST_COORDINATORS: coordinators: cannot be read: '[a'",
        "PRIMACY_TEST_RATIO: ratio: expected `float`, got `str`",
        "PRIMACY_TEST_WORKER: unknown setting (did you mean PRIMACY_TEST_WORKERS?)",
        "command line: verbos: unknown setting (did you mean verbose?)",
        "command line: workers: expected `int` >= 1",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workers: 2\nworkers: 3\n", "p.yaml:2: workers: given twice (first in line 1)"),
        ("a: [\n", "p.yaml:2: did not find expected node content"),
        ("- a\n", "p.yaml:1: must be a mapping of settings"),
        ("a: &x [*x]\n", "p.yaml:1: aliases make this endless"),
        ("listen: !!python/object:os.system x\n", "p.yaml:1: unknown tag tag:yaml.org,2002:python/object:os.system"),
        ("? [a]\n: b\n", "p.yaml:1: a key must be a word"),
        ("listen: a\n---\nlisten: b\n", "p.yaml:2: but found another document"),
    ],
)
def test_texts_that_are_no_settings(write: Write, text: str, problem: str) -> None:
    assert problems(write(text)) == [problem]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(f"{tmp_path}/none.yaml") == [f"{tmp_path}/none.yaml: No such file or directory"]
    (tmp_path / "latin").write_bytes(b"listen: \xff\n")
    assert problems(f"{tmp_path}/latin") == [f"{tmp_path}/latin: is not UTF-8 text"]


def test_an_empty_file_and_json_are_fine(write: Write) -> None:
    assert load(Settings, write("")) == Settings()
    assert load(Settings, write('{\n\t"workers": 3,\n\t"listen": "a\\tb"\n}')) == Settings(workers=3, listen="a\tb")


@pytest.mark.parametrize(
    ("value", "nanoseconds"),
    [
        ("2.5s", 2_500_000_000),
        ("500ms", 500_000_000),
        ("1m30s", 90_000_000_000),
        ("1h", 3_600_000_000_000),
        (0, 0),
        (0.1, 100_000_000),
        ("0.000000001s", 1),
    ],
)
def test_durations(value: object, nanoseconds: int) -> None:
    assert Duration.of(value) == nanoseconds
    assert Duration.of(str(Duration.of(value))) == nanoseconds


@pytest.mark.parametrize("value", ["", "5", "s", "-1s", "1:30", "2 s", -1, True, None, float("nan"), 1e300])
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="must be seconds"):
        Duration.of(value)


def test_a_fault_in_a_mapping_of_free_keys_names_its_key(write: Write) -> None:
    path = write(
        "labels: {tier: gold, zone: 3, rack: true}\n"
        "marks:\n"
        "  fine: {name: a}\n"
        "  heavy: {name: b, weight: much}\n"
        "  broken: {weight: 2}\n"
        "  deep: {name: c, weight: -1}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(Marked, path)
    assert [problem.removeprefix(f"{path}:") for problem in caught.value.problems] == [
        "1: labels.zone: expected `str`, got `int`",
        "1: labels.rack: expected `str`, got `bool`",
        "4: marks.heavy.weight: expected `float`, got `str`",
        "5: marks.broken: `name` is missing",
        "6: marks.deep.weight: expected `float` >= 0.0",
    ]


class Marked(Settings, rename="camel"):
    marks: dict[str, Region] = {}
