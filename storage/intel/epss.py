"""FIRST's Exploit Prediction Scoring System (EPSS): a table of all CVEs, new each day, as CSV.

https://www.first.org/epss/data_stats
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from storage.intel.faults import IntelFault
from storage.intel.reading import Reading, moment, opened

COLUMNS = "cve,epss,percentile"

_CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
_NUMBER = re.compile(r"[0-9.]+(?:[eE]-?[0-9]+)?")


def read_epss(path: Path) -> Reading:
    """What the table holds.  Raises ``IntelFault``, also from the rows."""
    with opened(path) as stream:
        first = next(stream.lines(), "").removeprefix("\ufeff")
    if not first.startswith("#"):
        raise IntelFault("line 1", "does not begin with #model_version:…,score_date:…")
    said = dict(part.strip().partition(":")[::2] for part in first[1:].split(","))
    if "score_date" not in said:
        raise IntelFault("line 1", "names no score_date")
    return Reading(moment(said["score_date"], "line 1"), said.get("model_version", ""), _rows(path))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with opened(path) as stream:
        lines = enumerate(stream.lines(), start=1)
        next(lines, None)
        _, columns = next(lines, (2, ""))
        if columns.replace(" ", "").lower() != COLUMNS:
            raise IntelFault("line 2", f"the columns are not {COLUMNS}")
        for number, line in lines:
            if line:
                yield _row(line, number)


def _row(line: str, number: int) -> dict[str, Any]:
    parts = line.split(",")
    if len(parts) != 3:
        raise IntelFault(f"line {number}", f"{len(parts)} columns instead of 3")
    if not _CVE.fullmatch(parts[0]):
        raise IntelFault(f"line {number}", f"{parts[0][:40]!r} is no CVE id")
    return {
        "cve": parts[0],
        "probability": _share(parts[1], "epss", number),
        "percentile": _share(parts[2], "percentile", number),
    }


def _share(text: str, column: str, number: int) -> float:
    try:
        value = float(text) if _NUMBER.fullmatch(text) else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise IntelFault(f"line {number}", f"{column} {text[:40]!r} is no number from 0 to 1")
    return value
