"""Syncs over HTTP, against a real server: paging, attempts, the egress guard and limits."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from activities.egress import EgressPolicy
from activities.errors import ActionError
from engine import intel_sync
from engine.intel import DatabaseIntel
from engine.intel_sync import Reach, Wanted, load_sample, sync, wanted_of
from storage.clock import now_ms
from storage.database import Database
from storage.intel.faults import IntelFault
from storage.intel.store import Delivery, SourceRow, look_up, sources, take
from tests.storage_fixtures import sqlite_template, sqlite_url
from tests.unit.activities.action_support import LocalServer, Received, http_answer
from tests.unit.storage.intel_files import HEARTBLEED, LOG4J, XZ, epss, kev, kev_entry, nvd, nvd_entry, written

__all__ = ["sqlite_template", "sqlite_url"]

REACH = Reach(EgressPolicy.parse("127.0.0.1"), pause=0)


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


def asked(server: LocalServer) -> list[dict[str, str]]:
    """The queries that came, in order."""
    return [{name: values[0] for name, values in parse_qs(urlsplit(one.path).query).items()} for one in server.received]


async def test_a_packed_file_is_fetched(database: Database, server: LocalServer) -> None:
    """Its address is kept without the query, in which a key may stand."""
    server.answers["/epss.csv.gz"] = http_answer(200, gzip.compress(epss(f"{LOG4J},0.9,0.95")))
    row = await sync(database, Wanted("epss", (f"{server.url}/epss.csv.gz?token=S3CRET",)), REACH)
    assert (row.entries, row.origin) == (1, [f"{server.url}/epss.csv.gz"])


async def test_all_pages_of_nvd_are_read(database: Database, server: LocalServer) -> None:
    """One after the other, by the start that each asks for; the key goes along."""
    cves = [LOG4J, HEARTBLEED, XZ, "CVE-2020-0001", "CVE-2020-0002"]

    async def page(request: Received) -> bytes:
        start = int(parse_qs(urlsplit(request.path).query)["startIndex"][0])
        body = nvd(*(nvd_entry(cve) for cve in cves[start : start + 2]), start=start, total=len(cves))
        return http_answer(200, body, content_type="application/json")

    server.answers["/cves/2.0"] = page
    reach = Reach(REACH.policy, nvd_key="K3Y", pause=0)
    row = await sync(database, Wanted("nvd", (f"{server.url}/cves/2.0",)), reach)
    assert row.entries == 5
    assert [query["startIndex"] for query in asked(server)] == ["0", "2", "4"]
    assert {one.headers["apikey"] for one in server.received} == {"K3Y"}
    assert row.origin[2] == f"{server.url}/cves/2.0 from 4 on"


async def test_the_next_sync_of_nvd_asks_for_what_has_changed(
    database: Database, server: LocalServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From an hour before what is stored on; everything when that is older than NVD's range."""
    monkeypatch.setitem(intel_sync.PUBLISHED, "nvd", f"{server.url}/cves/2.0")
    server.answers["/cves/2.0"] = http_answer(200, nvd(nvd_entry()))
    await sync(database, Wanted("nvd"), REACH)
    row = await sync(database, Wanted("nvd"), REACH)  # of March 2025: too long ago
    assert asked(server) == [{"startIndex": "0"}] * 2
    recent = SourceRow(**{name: getattr(row, name) for name in SourceRow.__slots__ if name != "as_of"}, as_of=now_ms())
    monkeypatch.setattr(intel_sync, "sources", lambda _: [recent])
    await sync(database, Wanted("nvd"), REACH)
    assert set(asked(server)[-1]) == {"startIndex", "lastModStartDate", "lastModEndDate"}


async def test_a_page_that_is_broken_leaves_everything_as_it_was(database: Database, server: LocalServer) -> None:
    """The first page was good; nothing of it is kept."""

    async def page(request: Received) -> bytes:
        return http_answer(200, nvd(nvd_entry(), total=2) if "startIndex=0" in request.path else b"<html>oops")

    server.answers["/cves/2.0"] = page
    with pytest.raises(IntelFault, match="from 1 on"):
        await sync(database, Wanted("nvd", (f"{server.url}/cves/2.0",)), REACH)
    assert database.read_sync(sources) == []
    assert database.read_sync(look_up, [LOG4J]).nvd == {}


@pytest.mark.parametrize("body", [nvd(nvd_entry(), start=0, total=9), nvd(start=1, total=9)])
async def test_pages_that_lead_nowhere_are_refused(database: Database, server: LocalServer, body: bytes) -> None:
    """The same page again and again, or an empty one, would never end."""
    first = nvd(nvd_entry(), total=9)

    async def page(request: Received) -> bytes:
        return http_answer(200, first if "startIndex=0" in request.path else body)

    server.answers["/cves/2.0"] = page
    with pytest.raises(IntelFault, match="the answer has"):
        await sync(database, Wanted("nvd", (f"{server.url}/cves/2.0",)), REACH)
    assert len(server.received) == 2


async def test_a_service_that_is_busy_is_asked_again(database: Database, server: LocalServer) -> None:
    """And one that stays so is told."""
    replies = [http_answer(503, b"later"), http_answer(403), http_answer(200, kev(kev_entry()))]

    async def reply(_: Received) -> bytes:
        return replies.pop(0)

    server.answers["/kev.json"] = reply
    assert (await sync(database, Wanted("kev", (f"{server.url}/kev.json",)), REACH)).entries == 1
    server.answers["/kev.json"] = http_answer(503, b"later", retry_after="0")
    with pytest.raises(ActionError, match="answered 503: later") as raised:
        await sync(database, Wanted("kev", (f"{server.url}/kev.json",)), REACH)
    assert raised.value.code == "service_failed"
    assert len(server.received) == 3 + intel_sync.ATTEMPTS
    with pytest.raises(ActionError, match="answered 404"):
        await sync(database, Wanted("kev", (f"{server.url}/none",)), REACH)


async def test_the_egress_guard_stands_under_downloads(database: Database, server: LocalServer) -> None:
    """A private address is refused, also one that a redirect leads to."""
    with pytest.raises(ActionError) as raised:
        await sync(database, Wanted("kev", (f"{server.url}/kev.json",)), Reach(EgressPolicy(), pause=0))
    assert raised.value.code == "egress_refused"
    server.answers["/moved"] = http_answer(302, location="http://169.254.169.254/latest")
    with pytest.raises(ActionError) as raised:
        await sync(database, Wanted("kev", (f"{server.url}/moved",)), REACH)
    assert raised.value.code == "egress_refused"


async def test_a_download_has_a_limit(database: Database, server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes on beyond it is not read."""
    monkeypatch.setattr(intel_sync, "MAX_DOWNLOAD", 1000)
    server.answers["/kev.json"] = http_answer(200, b"x" * 2000)
    with pytest.raises(ActionError) as raised:
        await sync(database, Wanted("kev", (f"{server.url}/kev.json",)), REACH)
    assert raised.value.code == "response_too_large"


def test_the_sample_loads_once_and_never_over_what_is_real(database: Database, tmp_path: Path) -> None:
    """Twice is as good as once; a source that was synced stays as it is."""
    file = written(tmp_path, "kev", kev(kev_entry()))
    database.write_sync(take, Delivery(source="kev", files=(file,), origin=("kev",)), 1)
    rows = {row.source: row for row in load_sample(database)}
    assert {source: row.sample for source, row in rows.items()} == {"kev": False, "epss": True, "nvd": True}
    assert rows["nvd"].entries == rows["epss"].entries == 13
    again = {row.source: row.entries for row in load_sample(database)}
    assert again == {source: row.entries for source, row in rows.items()}


async def test_the_actions_see_what_is_stored(database: Database) -> None:
    """Each source's part of a CVE, and nothing of an unknown one."""
    load_sample(database)
    found = await DatabaseIntel(database).look_up([LOG4J, XZ, "CVE-2099-99999"])
    assert set(found.facts) == {LOG4J, XZ}
    log4j = found.facts[LOG4J]
    assert log4j.exploited is not None
    assert (log4j.exploited.date_added, log4j.exploited.ransomware) == ("2021-12-10", True)
    assert log4j.described is not None
    assert [rating.score for rating in log4j.described.ratings] == [10.0, 9.3]
    assert found.facts[XZ].exploited is None
    assert all(source.sample for source in found.sources)


def test_what_the_command_line_asks_for(tmp_path: Path) -> None:
    """Files are told apart by themselves, addresses by their words."""
    file = str(written(tmp_path, "a", kev(kev_entry())))
    assert [one.source for one in wanted_of(None, [], False)] == ["kev", "epss", "nvd"]
    assert wanted_of(None, [file, "https://x.example/epss.csv"], True) == [
        Wanted("kev", (file,), True),
        Wanted("epss", ("https://x.example/epss.csv",), True),
    ]
    assert wanted_of("nvd", ["https://x.example/a", "b"], False)[0].places == ("https://x.example/a", "b")
    with pytest.raises(IntelFault, match="give --source"):
        wanted_of(None, ["https://x.example/a"], False)
    with pytest.raises(IntelFault, match="a second one"):
        wanted_of(None, [file, file], False)
