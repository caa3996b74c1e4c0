"""Runs every benchmark, one after the other, shows what it prints, and writes the tables as JSON.

    make bench           (python -m bench.everything [NAME…])

The file is `bench/results/latest.json`: for each benchmark its tables, a row by its headers.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path

from bench.site import ROOT

ALL = (
    "run",
    "phantom",
    "streams",
    "beginnings",
    "installation",
    "micro",
    "costs",
    "aged",
    "long",
    "waiting",
    "resumes",
    "peers",
    "overload",
)
RESULTS = ROOT / "bench" / "results" / "latest.json"


class BenchmarkFailed(Exception):
    """A benchmark ended with an error."""


def measured(name: str) -> list[str]:
    """The lines that a benchmark prints, shown as they come.  Raises BenchmarkFailed."""
    process = subprocess.Popen([sys.executable, "-m", f"bench.{name}"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip("\n"))
    if process.wait() != 0:
        raise BenchmarkFailed(name)
    return lines


def tables(lines: list[str]) -> list[list[dict[str, str]]]:
    """The tables in Markdown among the lines: a header stands above a rule."""
    found: list[list[dict[str, str]]] = []
    headers: list[str] = []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    for row, following in itertools.pairwise([*rows, []]):
        if following and _is_rule(following):
            headers = row
            found.append([])
        elif not _is_rule(row):
            found[-1].append(dict(zip(headers, row, strict=True)))
    return found


def _is_rule(row: list[str]) -> bool:
    return set("".join(row)) <= {"-", " ", ":"}


def main(names: list[str]) -> None:
    """Measures, and writes the file after each; a failure takes away neither what was measured nor what comes after.

    Raises SystemExit at the end where any failed.
    """
    results: dict[str, object] = {}
    failed = []
    for name in names:
        print(f"\n# bench.{name}\n", flush=True)
        begun = time.perf_counter()
        try:
            lines = measured(name)
        except BenchmarkFailed:
            failed.append(name)
            continue
        results[name] = {"seconds": round(time.perf_counter() - begun), "tables": tables(lines)}
        RESULTS.parent.mkdir(exist_ok=True)
        Path(RESULTS).write_text(json.dumps(results, indent=2, ensure_ascii=False))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:] or list(ALL))
