"""The mutation score of playbooks/ and workflows/, by a sample: ``python -m scripts.mutants [COUNT [SEED [FOLDER]]]``.

mutmut changes one thing in the code at a time, and the unit tests and the replay of saved histories are to notice.
There are ten thousand such changes, and all of them take hours; a sample says the score to within a few percent.
Prints the score and each change that nothing noticed; ``.venv-tools/bin/mutmut show NAME`` shows it.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path.cwd()
MUTMUT = str(Path(sys.executable).parent / "mutmut")
FOLDERS = ("playbooks", "workflows")
COUNT = 100
SEED = 1
NONE = "no.such.mutant"

KILLED = {1, 3, -24, 24, 36, 152, 255, -11, -9}
"""Exit codes of a change that was noticed, by a failed test, by the time it took, or by a crash."""
UNTESTED = {5, 33}
"""Exit codes of a change in a function that no test runs."""

ENVIRONMENT = {**os.environ, "STANCHION_TEST_TEMPORAL": "none", "COLUMNS": "80"}
"""No test of these needs a server: nothing is to start one."""


def main(arguments: list[str]) -> int:
    """Makes the changes, tries a sample of them, and tells."""
    count, chosen, folder = (*arguments, *[str(COUNT), str(SEED), ""][len(arguments) :])
    if not results():
        _mutmut(NONE)
    made = [name for name in sorted(results()) if name.startswith(folder)]
    sample = random.Random(int(chosen)).sample(made, min(int(count), len(made)))
    _mutmut(*sample)
    told = results()
    for part in FOLDERS:
        _tell(part, {name: told[name] for name in sample if name.startswith(part)})
    _tell("together", {name: told[name] for name in sample})
    for name in sorted(sample):
        if told[name] not in KILLED:
            print(f"{'untested' if told[name] in UNTESTED else 'survived' if told[name] == 0 else told[name]}  {name}")
    return 0


def results() -> dict[str, int | None]:
    """Each change that was made, with the exit code of its tests."""
    return {name: code for file in _files() for name, code in json.loads(file.read_text())["exit_code_by_key"].items()}


def _files() -> Iterator[Path]:
    for folder in FOLDERS:
        yield from (ROOT / "mutants" / folder).rglob("*.meta")


def _mutmut(*names: str) -> None:
    done = subprocess.run(
        [MUTMUT, "run", "--max-children", str(os.cpu_count() or 1), *names],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and names != (NONE,):
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])


def _tell(what: str, codes: dict[str, int | None]) -> None:
    counts = Counter(
        "killed" if code in KILLED else "untested" if code in UNTESTED else "survived" for code in codes.values()
    )
    tested = counts["killed"] + counts["survived"]
    print(
        f"{what:<10} {len(codes):>4} changes  {counts['killed']:>4} killed  {counts['survived']:>3} survived  "
        f"{counts['untested']:>3} in code that these tests do not run  score {counts['killed'] / max(tested, 1):.1%}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
