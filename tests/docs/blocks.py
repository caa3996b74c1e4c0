"""The code blocks of a page of Markdown, with what stands in comments before them.

A comment on the line before a block says what is done with it, and no reader of the page sees it:

    <!-- not run: REASON -->        It cannot run here; it is still parsed.
    <!-- against the server -->     A program in Python, which is run where the commands of the page are.
    <!-- file: NAME -->             The reader saves it under this name.
    <!-- another terminal -->       It goes on running, and is ready when it says so.
    <!-- repeat: until it prints this -->  The text says to try again until it prints what is shown.
    <!-- exit: NUMBER -->           Its last command ends with this code.
    <!-- parameters of: ACTION -->  YAML that stands in the parameters of a step with this action.

``<!-- Ctrl-C -->`` alone, where the text says so, ends what runs in the other terminal.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
_COMMENT = re.compile(r"^ *<!-- (?P<name>[a-zA-Z -]+?)(?:: (?P<value>.*))? -->$")
_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\S*) *$")
NAMES = {"not run", "file", "another terminal", "against the server", "exit", "repeat", "parameters of", "Ctrl-C"}


@dataclass
class Block:
    """One block: where it stands, what it is written in, its text, and what the comment before it says."""

    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str] = field(default_factory=dict)
    prints: str | None = None
    """Of a shell block: the block ``text`` right behind it, which is what it prints."""

    @property
    def place(self) -> str:
        """Page and line, as an editor takes them."""
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Each page, from the root of the repository."""
    found = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(str(path.relative_to(ROOT)) for path in found)


def blocks(page: str) -> list[Block]:
    """The blocks of a page in order; a shell block has the output that stands behind it."""
    return parse((ROOT / page).read_text(encoding="utf-8"), page)


def parse(text: str, page: str) -> list[Block]:
    """The blocks in ``text``.  Raises ``ValueError`` with the place for a comment that says nothing known."""
    found: list[Block] = []
    lines = text.splitlines()
    notes: dict[str, str] = {}
    since_block, index = 0, 0
    while index < len(lines):
        line = lines[index]
        if fence := _FENCE.match(line):
            end = next(at for at in range(index + 1, len(lines)) if lines[at].strip() == fence["ticks"])
            body = textwrap.dedent("\n".join(lines[index + 1 : end])) + "\n"
            block = Block(page, index + 1, fence["language"], body, notes)
            if block.language == "text" and found and found[-1].language == "sh" and not since_block:
                found[-1].prints = body
            else:
                found.append(block)
            notes, since_block, index = {}, 0, end
        elif comment := _COMMENT.match(line):
            if comment["name"] not in NAMES:
                raise ValueError(f"{page}:{index + 1}: a comment may say {', '.join(sorted(NAMES))}")
            if comment["name"] == "Ctrl-C":
                found.append(Block(page, index + 1, "Ctrl-C", ""))
            else:
                notes[comment["name"]] = comment["value"] or ""
        elif line.strip():
            if notes:
                raise ValueError(f"{page}:{index + 1}: the comment before this line belongs right before a block")
            since_block += 1
        index += 1
    return found
