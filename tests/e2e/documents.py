"""What a page of the documentation asks its reader to do, in order: commands, files, and what is supposed to happen.

Commands stand in ```console blocks. In a block with a line that begins with `$ `, those lines are commands, and what
stands below one is what it prints; in any other block every line is a command. Besides:

- A comment stands two spaces behind a command. `# refused`: it ends with exit code 1; `# wrong usage`: with 2.
- `…` in what is printed stands for anything, and so does a number for any other; lines may be left out.
- A ```yaml, ```sh or ```python block whose first comment is a path below /etc/primacy is that file.
- `<!-- given: WORDS -->` (no reader sees it) is something that happens by itself at this place, such as a crash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

FOLDER = "/etc/primacy"
"""Where files of the pages stand."""
_CODES = {"refused": 1, "wrong usage": 2}
_FENCE = re.compile(r"^```(\w*)\s*$")
_GIVEN = re.compile(r"^<!-- given: (.+) -->$")
_FILE = re.compile(rf"^# ({re.escape(FOLDER)}/[\w.-]+)$")
_NUMBER = re.compile(r"\d[\d.:]*(?: ?(?:ns|µs|ms|s|min|h)\b)?")
_ANY_NUMBER = r"[\d.:]+(?: ?(?:ns|µs|ms|s|min|h)\b(?: \d+ (?:s|min)\b)?)?"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing of a page."""

    page: str
    line: int
    kind: str
    """`command`, `file` or `given`."""
    text: str
    """The command, the file's text, or the words."""
    path: str = ""
    exit_code: int = 0
    shown: tuple[str, ...] = ()
    """What the page shows of a command's output."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"


def steps_of(page: str, text: str) -> list[Step]:
    """Every step of the page. A fence that is never closed raises ValueError."""
    found: list[Step] = []
    block: list[str] | None = None
    language, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if fence := _FENCE.match(line.strip()):
            if block is None:
                block, language, began = [], fence[1], number
            else:
                found += _of_block(page, language, began + 1, block)
                block = None
        elif block is not None:
            block.append(line)
        elif given := _GIVEN.match(line.strip()):
            found.append(Step(page, number, "given", given[1]))
    if block is not None:
        raise ValueError(f"{page}:{began}: a block without an end")
    return found


def _of_block(page: str, language: str, first: int, lines: list[str]) -> list[Step]:
    if language in ("yaml", "sh", "python"):
        paths = [match[1] for line in lines[:2] if (match := _FILE.match(line))]
        return [Step(page, first, "file", "\n".join(lines) + "\n", path) for path in paths]
    if language != "console":
        return []
    prompted = any(line.startswith("$ ") for line in lines)
    found: list[Step] = []
    for number, line in enumerate(lines, first):
        if (prompted and not line.startswith("$ ")) or not line.strip():
            continue
        command, _, comment = line.removeprefix("$ ").partition("  # ")
        command, code = command.strip(), _CODES.get(comment.strip(), 0)
        shown = _below(lines[number - first + 1 :]) if prompted else ()
        found.append(Step(page, number, "command", command, exit_code=code, shown=shown))
    return found


def _below(lines: list[str]) -> tuple[str, ...]:
    """What is printed before the next command."""
    return tuple(line for line in takewhile(lambda line: not line.startswith("$ "), lines) if line.strip())


def missing(shown: tuple[str, ...], printed: str) -> str:
    """The first line that a page shows and the command did not print, in the page's order; empty: none."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    at = 0
    for wanted in shown:
        pattern = _pattern(" ".join(wanted.split()))
        place = next((i for i in range(at, len(lines)) if pattern.fullmatch(lines[i])), None)
        if place is None:
            return wanted
        at = place + 1
    return ""


def _pattern(line: str) -> re.Pattern[str]:
    parts = []
    for part in map(str.strip, line.split("…")):
        words, last = "", 0
        for number in _NUMBER.finditer(part):
            words += re.escape(part[last : number.start()]) + _ANY_NUMBER
            last = number.end()
        parts.append(words + re.escape(part[last:]))
    return re.compile(".*".join(parts))


def links_of(text: str) -> list[str]:
    """The relative links of a page, without what stands in code."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


def anchors_of(text: str) -> set[str]:
    """What GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def read(root: Path, page: str) -> str:
    return (root / page).read_text(encoding="utf-8")
