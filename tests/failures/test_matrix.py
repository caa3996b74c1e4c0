"""Each row of docs/failures.md: a failure strikes runs in every moment at once, and each comes to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.failures.expected import End, ends
from tests.failures.moments import MOMENTS, Case, Moment
from tests.failures.namespaces import Network, run
from tests.failures.site import LINKS, Site, site
from tests.failures.strikes import CLOCK, STRIKES, Place, Strike
from tests.stack import FINAL

ROWS = {strike.name: strike for strike in STRIKES}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
async def test_row(tmp_path: Path, name: str) -> None:
    """Whatever the moment, the run ends as its cell says, and its effects are there as often as that says."""
    strike = ROWS[name]
    async with placed(strike.place, tmp_path) as place:
        cases = await arrange(place)
        await strike.strike(place)
        for name_of_link, link in place.links.items():
            if name_of_link.partition("-")[0] in strike.loses:
                link.reset()
            link.release()
        for moment, case in cases:
            await moment.during(case)
        await look(place, strike, cases)
        await asyncio.sleep(strike.seconds)
        await strike.mend(place)
        await place.house.ready(60)
        found = {moment.name: await finish(place, moment, case) for moment, case in cases}
    wanted = ends(strike.name)
    assert {name: end for name, end in found.items() if end not in wanted[name]} == {}


@contextlib.asynccontextmanager
async def placed(kind: Place, folder: Path) -> AsyncIterator[Site]:
    """A site as the failure needs it."""
    with contextlib.ExitStack() as stack:
        options: dict[str, Any] = {"on_postgres": kind not in (Place.SQLITE, Place.SMALL_DISK)}
        if kind is Place.SMALL_DISK:
            stack.enter_context(small_disk(folder / "data"))
        elif kind is Place.NETWORK:
            options["network"] = stack.enter_context(Network(("api", "worker"), LINKS))
        elif kind is Place.OTHER_CLOCK:
            options["own"] = {name: other_clock(folder / "files" / CLOCK) for name in ("api", "worker")}
        async with site(folder, **options) as place:
            yield place


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A disk of 64 MiB at ``folder``."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder))
    try:
        yield
    finally:
        run("umount", "--lazy", str(folder))


def other_clock(file: Path) -> dict[str, str]:
    """The environment of a process whose clock is off by what ``file`` says."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    assert libraries, "faketime is missing: run scripts/install-test-packages.sh"
    file.parent.mkdir(exist_ok=True)
    file.write_text("+0")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


async def arrange(place: Site) -> list[tuple[Moment, Case]]:
    """A run in every moment."""
    cases = [(moment, Case(place, moment.name)) for moment in MOMENTS]
    for moment, case in cases:
        await case.store(moment.steps(case))
    for moment, case in cases:
        await moment.prepare(case)
    for moment, case in cases:
        await moment.arrive(case)
    return cases


async def look(place: Site, strike: Strike, cases: list[tuple[Moment, Case]]) -> None:
    """What reads are answered while it lasts."""
    known = [case for _, case in cases if case.execution]
    seen = await asyncio.gather(*(place.glance(str(case.execution)) for case in known))
    assert set(seen) <= strike.sees, dict(zip([case.name for case in known], seen, strict=True))


async def finish(place: Site, moment: Moment, case: Case) -> End:
    """How the run of that moment ended, once its client has done its part."""
    await moment.proceed(case)
    assert case.execution is not None
    status = await place.house.finish(case.execution, 60)
    assert all(step["status"] in FINAL for step in status["steps"]), status
    again = await place.house.status(case.execution)
    assert again["status"] == status["status"]
    if case.request is not None:
        with contextlib.suppress(httpx2.TransportError):
            assert (await case.request).status_code in (200, 202, 503), case.request
    codes = {step["error"]["code"] for step in status["steps"] if step.get("error")}
    lines = case.lines()
    await asyncio.sleep(0)
    return End(status["status"], lines.count("did") + lines.count("after"), *sorted(codes))
