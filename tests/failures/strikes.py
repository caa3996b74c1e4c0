"""What dies or misbehaves, and how it is mended."""

from __future__ import annotations

import asyncio
import enum
import errno
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.failures.site import Site

Deed = Callable[[Site], Awaitable[None]]


CLOCK: Final = "clock"
"""The file that says how far off the clock is."""


class Place(enum.Enum):
    """Where a failure strikes."""

    POSTGRES = enum.auto()
    SQLITE = enum.auto()
    SMALL_DISK = enum.auto()
    OTHER_CLOCK = enum.auto()
    NETWORK = enum.auto()


@dataclass(frozen=True)
class Strike:
    """A failure: ``strike`` brings it about, ``mend`` ends it; ``sees`` is what a read may be answered meanwhile."""

    name: str
    title: str
    strike: Deed
    mend: Deed
    sees: frozenset[str]
    seconds: float = 0.5
    """How long it lasts after a client has looked."""
    loses: tuple[str, ...] = ()
    """Whose messages, held on their way, go down with it."""
    place: Place = Place.POSTGRES


OPEN: Final = frozenset({"pending", "running", "completed", "failed", "cancelled"})
AWAY: Final = frozenset({"no answer"})
UNAVAILABLE: Final = frozenset({"503", "cancelled", "completed", "failed"})
"""Runs that are final are read from the database alone."""


def kill(*names: str) -> Deed:
    """kill -9."""

    async def deed(site: Site) -> None:
        for name in names:
            if name == "database":
                assert site.postgres is not None
                site.postgres.stop(signal.SIGKILL)
            else:
                site.house.kill(name)

    return deed


def start(*names: str) -> Deed:
    """Starts it again."""

    async def deed(site: Site) -> None:
        for name in names:
            if name == "database":
                assert site.postgres is not None
                await asyncio.to_thread(site.postgres.start)
            else:
                site.house.start(name)  # type: ignore[arg-type]

    return deed


def freeze(*names: str) -> Deed:
    """SIGSTOP."""

    async def deed(site: Site) -> None:
        site.freeze(*names)

    return deed


def thaw(*names: str) -> Deed:
    """SIGCONT."""

    async def deed(site: Site) -> None:
        site.thaw(*names)

    return deed


def cut(host: str, link: str) -> Deed:
    """Drops every packet between a host and the end of a link."""

    async def deed(site: Site) -> None:
        assert site.network is not None
        site.network.cut(host, link)

    return deed


def heal(host: str) -> Deed:
    """Ends the cut."""

    async def deed(site: Site) -> None:
        assert site.network is not None
        site.network.heal(host)

    return deed


def slow(seconds: float) -> Deed:
    """Every message from and to Temporal takes so long."""

    async def deed(site: Site) -> None:
        for name in ("api-temporal", "worker-temporal"):
            site.links[name].delay = seconds

    return deed


def clock(offset: str) -> Deed:
    """Puts the clock of API and worker forward or back."""

    async def deed(site: Site) -> None:
        site.file(CLOCK).write_text(offset)

    return deed


async def lock_database(site: Site) -> None:
    """Another program writes to the file, and does not come to an end."""
    site.locker = sqlite3.connect(site.house.folder / "stanchion.sqlite", isolation_level=None, timeout=10)
    site.locker.execute("BEGIN IMMEDIATE")


async def unlock_database(site: Site) -> None:
    """The other program ends."""
    assert site.locker is not None
    site.locker.rollback()
    site.locker.close()


async def fill_disk(site: Site) -> None:
    """Not a byte is free any more where the data lies."""
    with (site.house.folder / "ballast").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


async def free_disk(site: Site) -> None:
    """There is room again.  What gave up is started again, as ``stanchion up`` does."""
    (site.house.folder / "ballast").unlink()
    for name in ("temporal", "worker", "api"):
        if site.house.has_ended(name):
            site.house.start(name)  # type: ignore[arg-type]


async def begin_upgrade(site: Site) -> None:
    """A worker of the next version joins."""
    site.house.own["next-worker"] = dict(site.house.own["worker"])
    site.house.start("next-worker")


async def nothing(site: Site) -> None:
    """Both stay."""


PARTS: Final = ("api", "worker", "temporal", "database")

STRIKES: Final = (
    Strike("worker-killed", "worker: kill -9", kill("worker"), start("worker"), OPEN, loses=("worker",)),
    Strike("worker-frozen", "worker: SIGSTOP, 25 s", freeze("worker"), thaw("worker"), OPEN, 25),
    Strike("api-killed", "API: kill -9", kill("api"), start("api"), AWAY, loses=("api",)),
    Strike("api-frozen", "API: SIGSTOP, 5 s", freeze("api"), thaw("api"), AWAY, 5),
    Strike("temporal-killed", "Temporal: kill -9", kill("temporal"), start("temporal"), UNAVAILABLE),
    Strike("temporal-frozen", "Temporal: SIGSTOP, 8 s", freeze("temporal"), thaw("temporal"), UNAVAILABLE | AWAY, 8),
    Strike("database-killed", "Postgres: kill -9", kill("database"), start("database"), UNAVAILABLE),
    Strike("database-frozen", "Postgres: SIGSTOP, 5 s", freeze("database"), thaw("database"), OPEN | AWAY | {"503"}, 5),
    Strike(
        "machine",
        "the machine: kill -9 of everything",
        kill(*PARTS),
        start("database", "temporal", "worker", "api"),
        AWAY,
        loses=("api", "worker"),
    ),
    Strike("disk-full", "disk full (SQLite)", fill_disk, free_disk, OPEN | AWAY | {"503"}, 5, place=Place.SMALL_DISK),
    Strike(
        "database-locked",
        "database locked, 15 s (SQLite)",
        lock_database,
        unlock_database,
        OPEN | AWAY,
        15,
        place=Place.SQLITE,
    ),
    Strike("clock-ahead", "clock: a day ahead", clock("+1d"), nothing, OPEN, place=Place.OTHER_CLOCK),
    Strike("clock-back", "clock: an hour back", clock("-1h"), nothing, OPEN, place=Place.OTHER_CLOCK),
    Strike("slow", "slow Temporal: 0.3 s a message", slow(0.3), slow(0), OPEN, 5),
    Strike(
        "api-temporal-cut",
        "network: API and Temporal",
        cut("api", "api-temporal"),
        heal("api"),
        UNAVAILABLE | AWAY,
        6,
        place=Place.NETWORK,
    ),
    Strike(
        "worker-temporal-cut",
        "network: worker and Temporal, 25 s",
        cut("worker", "worker-temporal"),
        heal("worker"),
        OPEN,
        25,
        place=Place.NETWORK,
    ),
    Strike(
        "api-database-cut",
        "network: API and Postgres",
        cut("api", "api-database"),
        heal("api"),
        UNAVAILABLE | AWAY,
        6,
        place=Place.NETWORK,
    ),
    Strike(
        "worker-database-cut",
        "network: worker and Postgres",
        cut("worker", "worker-database"),
        heal("worker"),
        OPEN,
        6,
        place=Place.NETWORK,
    ),
    Strike("two-versions", "a worker of the next version beside one of the last", begin_upgrade, nothing, OPEN, 3),
)
