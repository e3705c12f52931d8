"""Help teaches, and is quick because it imports little."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from primacy_cli.main import COMMANDS, cli

from tests.unit.cli.calls import run

HEAVY = ("grpc", "google", "rich", "yaml", "msgspec", "primacy", "asyncio")


def every_command() -> Iterator[tuple[str, ...]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, below) for below in command.list_commands(context))


@pytest.mark.parametrize("words", list(every_command()), ids=" ".join)
def test_every_command_says_what_it_does_and_shows_an_example(words: tuple[str, ...]) -> None:
    result = run(*words, "--help")
    assert result.exit_code == 0
    assert f"primacy {' '.join(words)}" in result.output
    usage, _, below = result.output.partition("\n\n")
    assert usage.startswith("Usage: ")
    assert "Example" in below
    example = next(line for line in below.splitlines() if line.strip().startswith("primacy "))
    assert example.split()[1] == words[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_name_options_that_exist(name: str) -> None:
    output = run(name, "--help").output
    for line in output.splitlines():
        if line.strip().startswith(f"primacy {name}"):
            options = {word for word in line.split() if word.startswith("-")}
            assert options <= all_options(name), line


def all_options(name: str) -> set[str]:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    found = [command]
    if isinstance(command, click.Group):
        found += [below for each in command.list_commands(context) if (below := command.get_command(context, each))]
    return {option for each in (*found, cli) for parameter in each.params for option in parameter.opts}


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("status",),
        ("watch",),
        ("readiness",),
        ("doctor",),
        ("failover",),
        ("drain",),
        ("unpin",),
        ("regions", "update"),
        ("policy", "check"),
        ("model", "push"),
        ("config", "edit"),
        ("conflict", "show"),
        ("log",),
        ("replication",),
        ("retry",),
        ("up",),
    ],
)
def test_help_imports_nothing_heavy(words: tuple[str, ...]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['primacy', *{words!r}, '--help']\n"
        "from primacy_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_commands_of_the_help_are_those_that_exist() -> None:
    output = run("--help").output
    for name, text in COMMANDS.items():
        assert name in output
        assert text.split(" ", 3)[0] in output
    for code in ("0 done", "1 refused", "2 wrong usage", "3 nobody answered", "4 waited in vain"):
        assert code in " ".join(output.split())


def test_a_slip_of_the_pen_is_met_with_a_suggestion() -> None:
    result = run("statsu")
    assert result.exit_code == 2
    assert "`status`" in result.stderr
