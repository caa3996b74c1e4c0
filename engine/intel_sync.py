"""Bringing the stored intelligence up to date, from files or from where the sources publish it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from activities.egress import EgressPolicy
from activities.errors import ActionError
from activities.http_request import retry_after
from activities.rest import excerpt
from activities.web import Call, fetch, parse_url, shown
from storage.clock import now_ms
from storage.database import Database
from storage.intel.faults import IntelFault
from storage.intel.nvd import page_of
from storage.intel.store import SOURCES, Delivery, Source, SourceRow, check, detect, sources, take

PUBLISHED: dict[Source, str] = {
    "kev": "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json",
    "epss": "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz",
    "nvd": "https://services.nvd.nist.gov/rest/json/cves/2.0",
}
"""Where the sources publish what they know."""

MAX_DOWNLOAD = 1024**3
"""Bytes of one file or page, as it is sent."""

DOWNLOAD_SECONDS = 600.0
ATTEMPTS = 5
TRY_AGAIN = frozenset({403, 408, 429, 500, 502, 503, 504})
"""NVD answers 403 to who asks too often."""

NVD_PAUSE = 6.0
"""Seconds between two pages, as NVD asks for; with a key it lets ten times as many requests through."""

NVD_PAUSE_WITH_KEY = 0.6
NVD_LONGEST_RANGE_MS = 119 * 24 * 3600 * 1000
"""NVD gives changes of at most 120 days; who was away longer reads everything."""

OVERLAP_MS = 3600 * 1000

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read of one source: files and addresses, or where it publishes when there are none."""

    source: Source
    places: tuple[str, ...] = ()
    force: bool = False


@dataclass(frozen=True, slots=True)
class Reach:
    """How addresses are reached: the egress guard, NVD's key, and what is told of progress."""

    policy: EgressPolicy
    nvd_key: str | None = None
    pause: float | None = None
    progress: Progress = lambda _: None


def is_address(place: str) -> bool:
    """Whether ``place`` is an address rather than a file."""
    return urlsplit(place).scheme.lower() in ("http", "https")


def wanted_of(source: Source | None, places: list[str], force: bool) -> list[Wanted]:
    """What the command line asks for.  Raises ``IntelFault`` for a file that is of no source, or one too many."""
    if not places:
        return [Wanted(one, force=force) for one in ([source] if source else SOURCES)]
    found: dict[Source, list[str]] = {}
    for place in places:
        found.setdefault(source or _source_of(place), []).append(place)
    for one, given in found.items():
        if one != "nvd" and len(given) > 1:
            raise IntelFault(given[1], f"{one} is one file, which holds everything, and here is a second one")
    return [Wanted(one, tuple(given), force) for one, given in found.items()]


async def sync(database: Database, wanted: Wanted, reach: Reach) -> SourceRow:
    """Reads all of ``wanted``, holds it to its form, and stores it in one transaction.

    Raises ``IntelFault`` and ``ActionError`` for what cannot be had or taken; nothing is changed then.
    """
    with TemporaryDirectory(prefix="stanchion-intel-") as folder:
        found: list[tuple[Path, str]] = []
        for number, place in enumerate(wanted.places or (PUBLISHED[wanted.source],)):
            if not is_address(place):
                found.append((Path(place), place))
            elif wanted.source == "nvd":
                question = [] if wanted.places else await _since(database)
                found += await _nvd_pages(place, question, Path(folder) / str(number), reach)
            else:
                found.append((await _download(place, [], Path(folder) / str(number), reach), _shown(place)))
        delivery = Delivery(
            source=wanted.source,
            files=tuple(file for file, _ in found),
            origin=tuple(origin for _, origin in found),
            force=wanted.force,
        )
        return await asyncio.to_thread(_store, database, delivery)


def load_sample(database: Database) -> list[SourceRow]:
    """Stores the shipped sample of each source that was never read; returns what is stored then."""
    folder = Path(str(resources.files("storage.intel") / "sample"))
    names: dict[Source, str] = {"kev": "kev.json", "epss": "epss.csv", "nvd": "nvd.json"}
    stored = {row.source for row in database.read_sync(sources) if not row.sample}
    for source, name in names.items():
        if source not in stored:
            _store(database, Delivery(source=source, files=(folder / name,), origin=(f"sample/{name}",), sample=True))
    return database.read_sync(sources)


def _store(database: Database, delivery: Delivery) -> SourceRow:
    # Before the transaction, which keeps every other writer of a SQLite file waiting.
    check(delivery)
    return database.write_sync(take, delivery, now_ms())


def _source_of(place: str) -> Source:
    if not is_address(place):
        try:
            return detect(Path(place))
        except IntelFault as fault:
            raise IntelFault(f"{place}, {fault.place}" if fault.place else place, fault.message) from None
    name = place.lower()
    for source, marks in (("epss", ("epss",)), ("nvd", ("nvd", "cves/2.0")), ("kev", ("kev", "known_exploited"))):
        if any(mark in name for mark in marks):
            return source  # type: ignore[return-value]
    raise IntelFault(place, "the address does not say which source it is of: give --source")


def _shown(address: str) -> str:
    """The address without its query, in which a key may stand."""
    return shown(parse_url(address))


async def _nvd_pages(address: str, question: list[tuple[str, str]], path: Path, reach: Reach) -> list[tuple[Path, str]]:
    """All pages of one question to NVD's API, and what each is called."""
    pause = reach.pause if reach.pause is not None else NVD_PAUSE_WITH_KEY if reach.nvd_key else NVD_PAUSE
    pages: list[tuple[Path, str]] = []
    start = 0
    while True:
        if pages:
            await asyncio.sleep(pause)
        name = f"{_shown(address)} from {start} on"
        file = path.with_suffix(f".{len(pages)}")
        await _download(address, [*question, ("startIndex", str(start))], file, reach)
        pages.append((file, name))
        try:
            page = await asyncio.to_thread(page_of, file)
        except IntelFault as fault:
            raise IntelFault(f"{name}, {fault.place}" if fault.place else name, fault.message) from None
        if page.start != start:
            raise IntelFault(name, f"the answer has entries from {page.start} on")
        start += page.size
        reach.progress(f"nvd: {min(start, page.total)} of {page.total}")
        if start >= page.total:
            return pages
        if page.size == 0:
            raise IntelFault(name, f"the answer has no entries, though there are {page.total}")


async def _since(database: Database) -> list[tuple[str, str]]:
    """The question for what has changed since the last sync; empty where everything must be read."""
    found = [row for row in await database.read(sources) if row.source == "nvd" and not row.sample]
    now = now_ms()
    if not found or found[0].as_of is None or now - found[0].as_of > NVD_LONGEST_RANGE_MS:
        return []
    span = (found[0].as_of - OVERLAP_MS, now)
    begin, end = (datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds") for ms in span)
    return [("lastModStartDate", begin), ("lastModEndDate", end)]


async def _download(address: str, query: list[tuple[str, str]], path: Path, reach: Reach) -> Path:
    """The file behind ``address``.  Raises ``ActionError``: it cannot be reached, or the service does not give it."""
    headers = {"apiKey": reach.nvd_key} if reach.nvd_key and "startIndex" in dict(query) else {}
    call = Call("GET", address, headers, query, timeout=DOWNLOAD_SECONDS, max_bytes=MAX_DOWNLOAD)
    where = _shown(address)
    for attempt in range(1, ATTEMPTS + 1):
        with path.open("wb") as file:
            answer = await fetch(call, reach.policy, file)
        if 200 <= answer.status < 300:
            return path
        if answer.status not in TRY_AGAIN or attempt == ATTEMPTS:
            break
        pause = NVD_PAUSE * attempt if reach.pause is None else reach.pause
        asked_for = retry_after(answer)
        reach.progress(f"{where} answered {answer.status}; another attempt follows")
        await asyncio.sleep(min(asked_for, 60.0) if asked_for is not None else pause)
    code = "service_failed" if answer.status >= 500 else "refused"
    raise ActionError(code, f"{where} answered {answer.status}{excerpt(answer)}", retryable=False)
