"""Writes docs/reference/ from the code: ``python scripts/reference_pages.py``.

``python scripts/reference_pages.py --check`` only compares, names what is out of date, and ends with 1 where something
is.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.reference import commands, errors, interface, metrics, playbook_format

DOCS = Path(__file__).parent.parent / "docs" / "reference"
COMMAND = ".venv/bin/python scripts/reference_pages.py"
PAGES = {
    "api.md": interface.page,
    "format.md": playbook_format.page,
    "commands.md": commands.page,
    "metrics.md": metrics.page,
    "errors.md": errors.page,
}


def out_of_date() -> list[str]:
    """The pages that differ from what the code says, or are missing."""
    return [name for name, page in PAGES.items() if _read(DOCS / name) != page()]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Writes the pages, or compares them; the exit code is 1 where one differs."""
    if "--check" in arguments:
        wrong = out_of_date()
        if wrong:
            named = ", ".join(f"docs/reference/{name}" for name in wrong)
            print(f"out of date: {named}; run: {COMMAND}", file=sys.stderr)
        return int(bool(wrong))
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
