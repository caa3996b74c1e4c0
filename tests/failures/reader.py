"""A client that reads one status ten times a second in a process of its own, so that it measures the server alone.

    python -m tests.failures.reader HOST PORT PATH TOKEN

On SIGTERM it prints one JSON document: ``reads`` in ms, and ``wrong``, what was no right answer.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import time
from types import FrameType


class Stop(Exception):
    """SIGTERM."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stop


def main(host: str, port: str, path: str, token: str) -> None:
    """Reads until it is told to stop."""
    signal.signal(signal.SIGTERM, _stop)
    reads: list[float] = []
    wrong: list[str] = []
    try:
        connection = http.client.HTTPConnection(host, int(port), timeout=120)
        while True:
            start = time.perf_counter()
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            content = answer.read()
            reads.append((time.perf_counter() - start) * 1000)
            if answer.status != 200 or json.loads(content)["execution_id"] != path.rpartition("/")[2]:
                wrong.append(f"{answer.status} {content[:200]!r}")
            time.sleep(0.1)
    except Stop:
        pass
    except OSError as error:
        wrong.append(repr(error))
    print(json.dumps({"reads": reads, "wrong": wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
