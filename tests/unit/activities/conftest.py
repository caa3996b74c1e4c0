"""Real things for the actions' tests: servers on free ports, a certificate, the activity of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from activities import web
from activities.action import ActionContext
from tests.unit.activities.action_support import (
    Certificate,
    LocalServer,
    Stage,
    make_certificate,
    make_context,
    make_stage,
)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    """A server on a free port of 127.0.0.1."""
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate that nobody trusts until ``trusted`` says so."""
    return make_certificate(tmp_path)


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Certificate]:
    """The certificate, trusted by the client as an operator would have it: by SSL_CERT_FILE."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.file))
    web._tls_context.cache_clear()
    yield certificate
    web._tls_context.cache_clear()


@pytest.fixture
async def tls_server(certificate: Certificate) -> AsyncIterator[LocalServer]:
    """The same server behind TLS."""
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0, ssl=certificate.server_context)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


@pytest.fixture
def context() -> ActionContext:
    """A context in which loopback may be reached."""
    return make_context()


@pytest.fixture
def stage() -> Stage:
    """The activity of a worker with the shipped actions."""
    return make_stage()
