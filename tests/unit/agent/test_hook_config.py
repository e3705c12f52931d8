"""A hook that cannot run is refused at start, by file, key and what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from primacy_agent.config import load_config
from primacy_agent.core.hooks import HookKind
from primacy_agent.hook_config import program_problem
from primacy_agent.main import main
from primacy_wire.instant import SECOND_NS
from primacy_wire.settings import ConfigError

EXPECTED = "must be the absolute path of an executable file, or the name of one on PATH"


def test_hooks_have_limits_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("region: eu\nhooks:\n  onPromote: [/bin/sh, -c, 'true']\n  demoteTimeout: 2.5s\n")
    hooks = load_config(str(file), {}, {}).hooks
    assert hooks.argv() == {HookKind.ON_PROMOTE: ["/bin/sh", "-c", "true"]}
    settings = hooks.settings("shop")
    assert (settings.group, settings.on_promote, settings.on_demote) == ("shop", True, False)
    assert (settings.promote_timeout_ns, settings.demote_timeout_ns) == (60 * SECOND_NS, 5 * SECOND_NS // 2)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("  onPromote: [/nowhere/promote]", f"onPromote: '/nowhere/promote': there is no such file: {EXPECTED}"),
        ("  onDemote: [/]", f"onDemote: '/': is not a file: {EXPECTED}"),
        ("  onDemote: [bin/demote]", f"onDemote: 'bin/demote': is a relative path: {EXPECTED}"),
        ("  onDemote: [no-such-program-at-all]", f"onDemote: 'no-such-program-at-all': is not on PATH: {EXPECTED}"),
        ("  onPromote: ['']", f"onPromote: '': is not on PATH: {EXPECTED}"),
        ("  onPromote: /bin/true", "onPromote: expected `array`, got `str`"),
        ("  promoteTimeout: 0s", "promoteTimeout: must be from 0.1s to 3600s"),
        ("  demoteTimeout: 2h", "demoteTimeout: must be from 0.1s to 3600s"),
        ("  onPromoted: [/bin/true]", "onPromoted: unknown key (did you mean onPromote?)"),
    ],
)
def test_what_cannot_run_is_refused(lines: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(f"region: eu\nhooks:\n{lines}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(file), {}, {})
    assert list(caught.value.problems) == [f"{file}:3: hooks.{problem}"]


def test_a_file_that_may_not_be_executed_is_refused_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = tmp_path / "promote"
    hook.write_text("#!/bin/sh\n")
    file = tmp_path / "agent.yaml"
    file.write_text(f"region: eu\nhooks:\n  promoteTimeout: 5s\n  onPromote:\n    - {hook}\n")
    assert main(["--config", str(file), "--check"]) == 2
    said = capsys.readouterr().err
    assert f"{file}:4: hooks.onPromote: '{hook}': this user may not execute it: {EXPECTED} (chmod +x)" in said
    hook.chmod(0o755)
    assert main(["--config", str(file), "--check"]) == 0


def test_a_program_on_path_may_be_named_alone() -> None:
    assert program_problem("sh") == ""
    assert os.path.isabs("/bin/sh") and program_problem("/bin/sh") == ""
