"""Following an execution: its Server-Sent Events (WHATWG HTML, *Server-sent events*), or polling where they fail."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2

from cli.http import Api, ApiError, decode, unreachable
from playbooks.states import FINAL

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long an API that has gone away is waited for: it may be restarted under us."""

PASSING = frozenset({429, 502, 503, 504})
"""Answers of an API, or of a proxy before it, that will be another one soon."""

_FINAL_STATES = frozenset(state.value for state in FINAL)


def is_final(execution: dict[str, Any]) -> bool:
    """True when nothing will change any more."""
    return execution["status"] in _FINAL_STATES


def is_stream(answer: httpx2.Response) -> bool:
    """True when ``answer`` is a stream of events."""
    return answer.is_success and answer.headers.get("Content-Type", "").startswith("text/event-stream")


def follow(api: Api, execution_id: str, patience: float = PATIENCE_SECONDS) -> Iterator[dict[str, Any]]:
    """The execution as it is at each change; ends with its final state.

    A stream that breaks is resumed; an API that does not stream is polled.  Raises ``ApiError`` when the API refuses,
    or has been away for ``patience`` seconds.
    """
    path = f"/api/playbooks/executions/{execution_id}"
    stream = _Stream(api, f"{path}/events")
    seen: dict[str, Any] | None = None
    away_since: float | None = None
    while True:
        try:
            for snapshot in stream.snapshots_then(path):
                away_since = None
                if snapshot != seen:
                    yield snapshot
                    seen = snapshot
                if is_final(snapshot):
                    return
        except ApiError as fault:
            away_since = away_since or time.monotonic()
            if (fault.status is not None and fault.status not in PASSING) or time.monotonic() - away_since > patience:
                raise
        time.sleep(POLL_SECONDS)


class _Stream:
    """The events of one execution, resumed where they broke."""

    def __init__(self, api: Api, path: str) -> None:
        self._api = api
        self._path = path
        self._last_id: str | None = None
        self._offered = True

    def snapshots_then(self, status: str) -> Iterator[dict[str, Any]]:
        """The snapshots of one connection, and when it has ended the one at the path ``status``."""
        if self._offered:
            yield from self._snapshots()
        yield self._api.get(status)

    def _snapshots(self) -> Iterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream"}
        if self._last_id is not None:
            headers["Last-Event-ID"] = self._last_id
        timeout = httpx2.Timeout(10.0, read=60.0)
        try:
            with self._api.client.stream("GET", self._path, headers=headers, timeout=timeout) as answer:
                if not is_stream(answer):
                    # An older server, or a proxy in between that does not stream: the status itself tells more.
                    self._offered = answer.status_code in PASSING
                    if self._offered:
                        answer.read()
                        decode(answer)
                    return
                for event in httpx2.EventSource(answer):
                    self._last_id = event.id or self._last_id
                    if event.event == "execution":
                        yield json.loads(event.data)
        except httpx2.TransportError as fault:
            raise unreachable(self._api.url, fault) from fault
