"""Intelligence on vulnerabilities: what is read of each source's file, what is refused, and all or nothing of it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from intel_files import HEARTBLEED, LOG4J, VECTOR, XZ, epss, kev, kev_entry, nvd, nvd_entry, written

from storage.database import Database
from storage.intel import reading
from storage.intel.faults import IntelFault
from storage.intel.store import Delivery, Known, Source, SourceRow, check, detect, look_up, sources, take

MARCH = 1740787200000  # 2025-03-01T00:00:00Z


def deliver(database: Database, source: Source, *paths: Path, at: int = 1, **more: bool) -> SourceRow:
    """Check and take the files."""
    delivery = Delivery(source=source, files=paths, origin=tuple(path.name for path in paths), **more)
    check(delivery)
    return database.write_sync(take, delivery, at)


def stored(database: Database, *cves: str) -> Known:
    return database.read_sync(look_up, list(cves))


def test_kev_is_read(database: Database, tmp_path: Path) -> None:
    """Dates, action and ransomware of each entry, and of when the catalogue is."""
    row = deliver(database, "kev", written(tmp_path, "kev.json", kev(kev_entry())), at=7)
    assert row == SourceRow(
        source="kev",
        origin=["kev.json"],
        version="2025.03.01",
        as_of=MARCH + 12 * 3600_000 + 123,
        synced_at=7,
        entries=1,
        sample=False,
    )
    assert stored(database, LOG4J, XZ).kev == {
        LOG4J: {
            "cve": LOG4J,
            "vendor": "Apache",
            "product": "Log4j2",
            "name": "Apache Log4j2 Remote Code Execution Vulnerability",
            "description": "Remote code execution.",
            "date_added": "2021-12-10",
            "due_date": "2021-12-24",
            "required_action": "Apply updates.",
            "ransomware": True,
        }
    }
    assert database.read_sync(sources) == [row]


@pytest.mark.parametrize("packed", [False, True])
def test_epss_is_read(database: Database, tmp_path: Path, packed: bool) -> None:
    """Plain and packed, with both forms of a number."""
    content = epss(f"{LOG4J},0.94358,0.99957", f"{XZ},1e-05,0.5")
    path = written(tmp_path, "epss", gzip.compress(content) if packed else content)
    assert detect(path) == "epss"
    row = deliver(database, "epss", path)
    assert (row.entries, row.as_of, row.version) == (2, MARCH, "v2023.03.01")
    found = stored(database, LOG4J, XZ).epss
    assert (found[LOG4J]["probability"], found[LOG4J]["percentile"]) == (0.94358, 0.99957)
    assert found[XZ]["probability"] == 1e-05


def test_nvd_is_read(database: Database, tmp_path: Path) -> None:
    """The English description, the ratings newest first and primary first, weaknesses and references."""

    def metric(version: str, kind: str, score: float) -> dict[str, object]:
        data = {"version": version, "vectorString": f"{version}-{kind}", "baseScore": score}
        return {"source": "s", "type": kind, "cvssData": data}

    metrics = {
        "cvssMetricV2": [metric("2.0", "Primary", 5.0)],
        "cvssMetricV31": [metric("3.1", "Secondary", 7.0), metric("3.1", "Primary", 8.0)],
        "cvssMetricV40": [metric("4.0", "Secondary", 9.0)],
    }
    deliver(database, "nvd", written(tmp_path, "nvd.json", nvd(nvd_entry(metrics=metrics))))
    found = stored(database, LOG4J).nvd[LOG4J]
    assert found["description"] == "JNDI features."
    assert found["details"] == {"cwes": ["CWE-502"], "references": ["https://logging.apache.org/"]}
    assert [rating["vector"] for rating in found["ratings"]] == [
        "4.0-Secondary",
        "3.1-Primary",
        "3.1-Secondary",
        "2.0-Primary",
    ]
    assert found["published"] == 1639131309143


def test_a_snapshot_replaces_what_was_there(database: Database, tmp_path: Path) -> None:
    """What KEV and EPSS no longer have is gone; the same file twice changes nothing."""
    first = written(tmp_path, "1", epss(f"{LOG4J},0.9,0.9", f"{XZ},0.1,0.1"))
    second = written(tmp_path, "2", epss(f"{LOG4J},0.8,0.8", date="2025-03-02T00:00:00+0000"))
    deliver(database, "epss", first)
    assert deliver(database, "epss", first).entries == 2
    deliver(database, "epss", second)
    found = stored(database, LOG4J, XZ).epss
    assert {cve: row["probability"] for cve, row in found.items()} == {LOG4J: 0.8}


def test_pages_of_nvd_add_up_in_any_order(database: Database, tmp_path: Path) -> None:
    """A part replaces nothing but its own entries, and an older entry never a newer one."""
    new = written(tmp_path, "new", nvd(nvd_entry(vulnStatus="new", modified="2025-02-02T00:00:00.000")))
    old = written(tmp_path, "old", nvd(nvd_entry(vulnStatus="old"), nvd_entry(XZ)))
    deliver(database, "nvd", new)
    assert deliver(database, "nvd", old).entries == 2
    assert stored(database, LOG4J).nvd[LOG4J]["status"] == "new"
    assert deliver(database, "nvd", old, new).entries == 2


@pytest.mark.parametrize(
    ("source", "content", "told"),
    [
        ("epss", epss(f"{LOG4J},0.9,0.9", "CVE-1-1,0.1,0.1"), "file, line 4: 'CVE-1-1' is no CVE id"),
        ("epss", epss(f"{LOG4J},0.9"), "file, line 3: 2 columns instead of 3"),
        ("epss", epss(f"{LOG4J},1.5,0.9"), "file, line 3: epss '1.5' is no number from 0 to 1"),
        ("epss", epss(f"{LOG4J},nan,0.9"), "file, line 3: epss 'nan' is no number from 0 to 1"),
        ("epss", epss(f"{LOG4J},0.1,1.2.3"), "file, line 3: percentile '1.2.3' is no number from 0 to 1"),
        ("epss", epss(), "file: there is no entry in it"),
        ("epss", epss(date="yesterday"), "file, line 1: 'yesterday' is no date"),
        ("epss", b"cve,epss,percentile\n", "file, line 1: does not begin with #model_version:…,score_date:…"),
        ("epss", b"#score_date:2025-03-01\ncve,score\n", "file, line 2: the columns are not cve,epss,percentile"),
        ("epss", b"#score_date:2025-03-01\n" + b"x" * 5000, "file, line 2: longer than 4096 bytes"),
        ("epss", b"#score_date:2025-03-01\n\xff\n", "file, line 2: not UTF-8"),
        ("epss", gzip.compress(epss(f"{LOG4J},0.9,0.9"))[:-12], "file: the packed file ends too early"),
        ("kev", kev(kev_entry(), kev_entry("CVE-x")), "file, vulnerabilities[1].cveID: String should match"),
        ("kev", kev(kev_entry(dueDate="soon")), "file, vulnerabilities[0].dueDate: Input should be a valid date"),
        ("kev", kev(kev_entry(), count=3), "file, count: says 3, but the list has 1 entries"),
        ("kev", kev(), "file: there is no entry in it"),
        ("kev", kev(kev_entry())[:-30], "file, vulnerabilities[0]: the file is not whole, or not JSON"),
        ("kev", b'{"dateReleased": "2025-03-01", "count": 1}', "file, vulnerabilities: this list is missing"),
        ("kev", b'{"vulnerabilities": []}', "file, dateReleased: is missing before the list"),
        ("nvd", nvd(nvd_entry(lastModified="never")), "file, vulnerabilities[0].cve.lastModified: 'never' is no date"),
        ("nvd", nvd(nvd_entry(), version="1.1"), "file, format: is not NVD_CVE in version 2.0"),
        ("nvd", nvd().replace(b"[]", b'[{"x": 1}]'), "file, vulnerabilities[0].cve: is missing"),
        ("nvd", nvd(nvd_entry(id=7)), "file, vulnerabilities[0].cve.id: Input should be a valid string"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(
    database: Database, tmp_path: Path, source: Source, content: bytes, told: str
) -> None:
    """And changes nothing of what was stored."""
    deliver(database, "kev", written(tmp_path, "kev", kev(kev_entry())))
    deliver(database, "epss", written(tmp_path, "epss", epss(f"{LOG4J},0.9,0.9")))
    deliver(database, "nvd", written(tmp_path, "nvd", nvd(nvd_entry())))
    before = stored(database, LOG4J, XZ)
    with pytest.raises(IntelFault) as raised:
        deliver(database, source, written(tmp_path, "file", content))
    assert str(raised.value).startswith(told)
    assert stored(database, LOG4J, XZ) == before


def test_a_file_that_changes_between_check_and_store_is_rolled_back(database: Database, tmp_path: Path) -> None:
    """The second reading meets the fault inside of the transaction."""
    good = written(tmp_path, "epss", epss(f"{LOG4J},0.9,0.9"))
    deliver(database, "epss", good)
    delivery = Delivery(source="epss", files=(good,), origin=("epss",))
    check(delivery)
    written(tmp_path, "epss", epss(f"{XZ},0.9,0.9", "broken"))
    with pytest.raises(IntelFault):
        database.write_sync(take, delivery, 2)
    assert set(stored(database, LOG4J, XZ).epss) == {LOG4J}
    assert database.read_sync(sources)[0].synced_at == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from storage.database import Database
from storage.intel.store import Delivery, take

def take_and_die(connection, delivery):
    take(connection, delivery, 2)
    os.kill(os.getpid(), signal.SIGKILL)

path = Path(sys.argv[2])
Database(sys.argv[1]).write_sync(take_and_die, Delivery(source="epss", files=(path,), origin=("x",)))
"""


def test_a_sync_that_is_killed_before_its_commit_changes_nothing(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """And the next one is not kept waiting by what it left."""
    deliver(database, "epss", written(tmp_path, "first", epss(f"{LOG4J},0.9,0.9")))
    second = written(tmp_path, "second", epss(f"{XZ},0.9,0.9"))
    died = subprocess.run([sys.executable, "-c", KILLED, database_url, str(second)], check=False)
    assert died.returncode == -9
    assert set(stored(database, LOG4J, XZ).epss) == {LOG4J}
    deliver(database, "epss", second)
    assert set(stored(database, LOG4J, XZ).epss) == {XZ}


def test_two_syncs_at_once_wait_for_each_other(database: Database, tmp_path: Path) -> None:
    """Each is whole; the one that comes last stays."""
    files = [
        written(tmp_path, str(part), epss(*(f"CVE-2020-{number},0.{part},0.1" for number in range(1000, 4000))))
        for part in (1, 2, 3)
    ]
    faults: list[Exception] = []

    def run(path: Path) -> None:
        try:
            deliver(database, "epss", path)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    found = stored(database, *(f"CVE-2020-{number}" for number in range(1000, 1500))).epss
    assert len(found) == 500
    assert len({row["probability"] for row in found.values()}) == 1


def test_an_older_or_much_smaller_snapshot_must_be_forced(database: Database, tmp_path: Path) -> None:
    """A file that was left over would quietly undo what is known."""
    rows = [f"CVE-2020-{number},0.1,0.1" for number in range(1000, 1010)]
    deliver(database, "epss", written(tmp_path, "new", epss(*rows)))
    older = written(tmp_path, "old", epss(*rows, date="2025-02-01T00:00:00Z"))
    smaller = written(tmp_path, "small", epss(*rows[:4], date="2025-03-02T00:00:00Z"))
    with pytest.raises(IntelFault, match="older than what is stored"):
        deliver(database, "epss", older)
    with pytest.raises(IntelFault, match="4 entries, where 10 are stored"):
        deliver(database, "epss", smaller)
    assert database.read_sync(sources)[0].entries == 10
    assert deliver(database, "epss", older, force=True).entries == 10
    assert deliver(database, "epss", smaller, force=True).entries == 4


@pytest.mark.parametrize("source", ["kev", "epss", "nvd"])
def test_the_first_real_sync_replaces_the_sample(database: Database, tmp_path: Path, source: Source) -> None:
    """Whatever its date and size; and a sample never replaces what is real."""
    both = {
        "kev": kev(kev_entry(HEARTBLEED), kev_entry(XZ), kev_entry("CVE-2020-0001")),
        "epss": epss(f"{HEARTBLEED},0.9,0.9", f"{XZ},0.9,0.9", "CVE-2020-0001,0.1,0.1"),
        "nvd": nvd(nvd_entry(HEARTBLEED), nvd_entry(XZ), nvd_entry("CVE-2020-0001")),
    }
    real = {
        "kev": kev(kev_entry(), released="2024-01-01T00:00:00Z"),
        "epss": epss(f"{LOG4J},0.9,0.9", date="2024-01-01T00:00:00Z"),
        "nvd": nvd(nvd_entry()),
    }
    sample, file = written(tmp_path, "sample", both[source]), written(tmp_path, "real", real[source])
    assert deliver(database, source, sample, sample=True).sample
    row = deliver(database, source, file)
    assert (row.entries, row.sample) == (1, False)
    assert deliver(database, source, sample, sample=True) == row
    assert set(getattr(stored(database, HEARTBLEED, XZ, LOG4J), source)) == {LOG4J}


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (kev(kev_entry()), "kev"),
        (b"\xef\xbb\xbf " + kev(kev_entry()), "kev"),
        (epss(f"{LOG4J},0.9,0.9"), "epss"),
        (nvd(nvd_entry()), "nvd"),
        (gzip.compress(nvd(nvd_entry())), "nvd"),
    ],
)
def test_a_file_says_itself_what_it_is(tmp_path: Path, content: bytes, source: str) -> None:
    """By its beginning, packed or not."""
    assert detect(written(tmp_path, "file", content)) == source


@pytest.mark.parametrize("content", [b"", b"<html>", b'{"a": 1}', b"\x00" * 100, b"\x1f\x8bxx"])
def test_a_file_of_no_source_is_refused(tmp_path: Path, content: bytes) -> None:
    """With a sentence."""
    with pytest.raises(IntelFault):
        detect(written(tmp_path, "file", content))
    with pytest.raises(IntelFault, match="cannot be read"):
        detect(tmp_path / "none")


def test_what_unpacks_without_end_is_given_up(tmp_path: Path) -> None:
    """At the limit, and an entry has one of its own."""

    def unpack() -> None:
        with reading.opened(zeros, limit=100_000) as stream:
            while stream.read(65536):
                pass

    zeros = written(tmp_path, "zeros", gzip.compress(b"0" * 1_000_000))
    with pytest.raises(IntelFault, match="larger than any"):
        unpack()
    huge = kev(kev_entry(notes="x" * (reading.MAX_ENTRY + 1_000_000)))
    with pytest.raises(IntelFault, match="an entry is larger than"):
        check(Delivery(source="kev", files=(written(tmp_path, "huge", huge),), origin=("huge",)))


@pytest.mark.parametrize("source", ["epss", "nvd"])
def test_memory_stays_flat(tmp_path: Path, source: Source) -> None:
    """Ten times the entries take no more memory."""

    def peak(count: int) -> int:
        numbers = range(10_000, 10_000 + count)
        content = (
            epss(*(f"CVE-2020-{number},0.1,0.1" for number in numbers))
            if source == "epss"
            else nvd(*(nvd_entry(f"CVE-2020-{number}") for number in numbers))
        )
        path = written(tmp_path, str(count), content)
        del content
        tracemalloc.start()
        assert check(Delivery(source=source, files=(path,), origin=("x",))) == count
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(100)  # what is made once
    assert peak(5000) < 2 * peak(500) + 500_000


def test_the_shipped_sample_says_what_it_is() -> None:
    """Its figures are the published ones of well-known CVEs; a look at one of them."""
    folder = Path(reading.__file__).parent / "sample"
    entries = json.loads((folder / "nvd.json").read_text())["vulnerabilities"]
    vectors = {
        entry["cve"]["id"]: entry["cve"]["metrics"]["cvssMetricV31"][0]["cvssData"]["vectorString"]
        for entry in entries
        if "cvssMetricV31" in entry["cve"]["metrics"]
    }
    assert vectors[LOG4J] == VECTOR
    assert {LOG4J, HEARTBLEED, XZ} <= set(vectors)
