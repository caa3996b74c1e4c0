"""Reading files that others have made: packed or not, no further than a limit, one entry after the other."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import ijson
from pydantic import BaseModel, ValidationError

from storage.intel.faults import IntelFault

MAX_BYTES = 4 * 1024**3
"""Bytes that a file may have once it is unpacked; ten times what the largest has."""

MAX_ENTRY = 16 * 1024**2
"""Bytes of one entry, or of what stands between two."""

MAX_LINE = 4096
"""Bytes of one line of a table."""

ENTRIES = "vulnerabilities"

_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds: of which moment it speaks (ms since the epoch), its version, and rows for the database."""

    as_of: int | None
    version: str
    rows: Iterator[dict[str, Any]]


class Bounded:
    """A file that is read no further than a limit.  Its reads raise ``IntelFault``."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._file = file
        self._left = limit
        self._since_mark = 0

    def mark(self) -> None:
        """An entry has come: the next one may be as long as ``MAX_ENTRY`` again."""
        self._since_mark = 0

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, for ijson."""
        data = self._guarded(lambda: self._file.read(size))
        self._since_mark += len(data)
        if self._since_mark > MAX_ENTRY:
            raise IntelFault("", f"an entry is larger than {MAX_ENTRY} bytes")
        return data

    def lines(self) -> Iterator[str]:
        """The lines, without their ends."""
        number = 0
        while line := self._guarded(lambda: self._file.readline(MAX_LINE + 1)):
            number += 1
            if len(line) > MAX_LINE:
                raise IntelFault(f"line {number}", f"longer than {MAX_LINE} bytes")
            try:
                yield line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise IntelFault(f"line {number}", "not UTF-8") from None

    def _guarded(self, read: Any) -> bytes:
        try:
            data: bytes = read()
        except EOFError:
            raise IntelFault("", "the packed file ends too early; was the download cut off?") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise IntelFault("", f"the packed file is broken: {error}") from None
        self._left -= len(data)
        if self._left < 0:
            raise IntelFault("", "the file is larger than any of these sources is")
        return data


@contextmanager
def opened(path: Path, limit: int = MAX_BYTES) -> Iterator[Bounded]:
    """The file, unpacked where it is packed with gzip.  Raises ``IntelFault`` when it cannot be opened."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise IntelFault("", f"cannot be read: {error.strerror}") from None
    with file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        if not packed:
            yield Bounded(file, limit)
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield Bounded(unpacked, limit)


def beginning(path: Path) -> bytes:
    """The first 4 KiB, unpacked.  Raises ``IntelFault``."""
    with opened(path) as stream:
        return stream.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")


def header(path: Path, wanted: frozenset[str]) -> dict[str, Any]:
    """The values of the ``wanted`` keys that stand in a JSON object before its entries.  Raises ``IntelFault``."""
    found: dict[str, Any] = {}
    with opened(path) as stream, _json_faults():
        for place, event, value in ijson.parse(stream, use_float=True):
            if (place, event) == (ENTRIES, "start_array"):
                return found
            if place in wanted and event in ("string", "number"):
                found[place] = value
    raise IntelFault(ENTRIES, "this list is missing")


def entries(path: Path, model: type[BaseModel], inside: str = "") -> Iterator[Any]:
    """The entries of a JSON object's list, each held to ``model``.  Raises ``IntelFault``.

    ``inside``: the key under which an entry holds what is wanted.
    """
    number = 0
    with opened(path) as stream, _json_faults(lambda: f"{ENTRIES}[{number}]"):
        for item in ijson.items(stream, f"{ENTRIES}.item", use_float=True):
            stream.mark()
            place = f"{ENTRIES}[{number}]" + (f".{inside}" if inside else "")
            if inside and not (isinstance(item, dict) and inside in item):
                raise IntelFault(place, "is missing")
            try:
                yield model.model_validate(item[inside] if inside else item)
            except ValidationError as error:
                raise _fault_of(error, place) from None
            number += 1


def moment(text: str, place: str) -> int:
    """Milliseconds since the epoch of an ISO 8601 text; one without a zone is in UTC.  Raises ``IntelFault``."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise IntelFault(place, f"{text[:40]!r} is no date") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp() * 1000)


@contextmanager
def _json_faults(place: Any = lambda: "") -> Iterator[None]:
    try:
        yield
    except ijson.IncompleteJSONError as error:
        reason = " ".join(str(error).split())[:200]
        raise IntelFault(place(), f"the file is not whole, or not JSON: {reason}") from None
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise IntelFault(place(), f"not JSON: {' '.join(str(error).split())[:200]}") from None


def _fault_of(error: ValidationError, place: str) -> IntelFault:
    first = error.errors(include_url=False, include_context=False)[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    return IntelFault(f"{place}{where}", first["msg"])
