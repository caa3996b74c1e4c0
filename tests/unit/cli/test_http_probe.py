"""Asking the API whether everything works."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from cli.http_probe import is_ready
from tests.fake_api import FakeApi, Reply


def readiness(*states: str) -> dict[str, object]:
    """What /readyz answers when its dependencies are in ``states``."""
    return {"dependencies": [{"name": f"part{index}", "state": state} for index, state in enumerate(states)]}


@pytest.mark.parametrize(
    ("body", "ready"),
    [
        (readiness("ok", "ok", "ok"), True),
        (readiness("ok", "ok", "none"), False),
        (readiness("ok", "unavailable", "ok"), False),
        ({}, False),
        (b"not JSON", False),
        ([1], False),
    ],
)
async def test_everything_must_be_there(body: object, ready: bool) -> None:
    """Ready is when every dependency is, the worker included."""
    with FakeApi(lambda _: Reply(body=body)) as api:
        assert await is_ready("127.0.0.1", urlsplit(api.url).port or 0) is ready


async def test_nobody_there_is_not_ready() -> None:
    """A port that nobody listens on is not ready, and no error."""
    with FakeApi(lambda _: Reply()) as api:
        port = urlsplit(api.url).port or 0
    assert await is_ready("127.0.0.1", port) is False
