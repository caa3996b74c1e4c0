"""Overload at its full size, with figures: answers, latency of a status read beside it, memory of the API.

python -m bench.overload [NAME…]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.failures import overload
from tests.failures.overload import Overload
from tests.house import House

ROWS: Final[Mapping[str, Overload]] = {
    "burst": lambda house: overload.burst(house, 2_000),
    "listeners": lambda house: overload.deaf_listeners(house, 1_000),
    "logins": lambda house: overload.guessed_logins(house, 5_000, 1_000),
    "polls": lambda house: overload.polls(house, 10_000),
    "queue": lambda house: overload.queue(house, 10_000),
}


async def main(names: list[str]) -> None:
    """Prints each row as it is measured.  Raises AssertionError where a promise is broken."""
    overload.allow_connections()
    print("| overload | answers | read p50, ms | p99 | most | API, MB | seconds |", flush=True)
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in names or ROWS:
        with tempfile.TemporaryDirectory(prefix="stanchion-bench-") as folder:
            house = House(Path(folder))
            try:
                await house.prepare()
                figures = await ROWS[name](house)
                print(figures.row(), flush=True)
                assert figures.wrong_reads == [], figures.wrong_reads[:3]
            finally:
                house.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
