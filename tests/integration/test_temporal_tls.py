"""API and worker against a Temporal with TLS that asks for a client certificate or an API key, by settings alone."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from tests.conftest import free_port
from tests.frontend import KEY, frontend, make_certificates
from tests.house import ROOT, House, house

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("temporal-tls")]


@dataclass
class Guarded:
    """A house, and the ports at which its Temporal speaks TLS, asks for a client certificate and asks for a key."""

    site: House
    folder: Path
    ports: dict[str, int]

    def variables(self, kind: str, given: Mapping[str, str]) -> dict[str, str]:
        """The settings for that port; names of files are those of the folder."""
        files = {name: str(self.folder / value) if name.endswith("_PATH") else value for name, value in given.items()}
        return {"STANCHION_TEMPORAL_ADDRESS": f"localhost:{self.ports[kind]}", **files}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """A house whose Temporal can be reached in three guarded ways besides."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    ports = {kind: free_port() for kind in ("tls", "mtls", "key")}
    async with house(tmp_path_factory.mktemp("house")) as site:
        with ExitStack() as stack:
            for kind, port in ports.items():
                asked = {"client_certificate": kind == "mtls", "api_key": kind == "key"}
                stack.enter_context(frontend(folder, port, f"127.0.0.1:{site.temporal_port}", **asked))
            yield Guarded(site, folder, ports)


AUTHORITY = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "ca.pem"}
CLIENT = {"TEMPORAL_TLS_CLIENT_CERT_PATH": "client.pem", "TEMPORAL_TLS_CLIENT_KEY_PATH": "client.key"}
STRANGER = {"TEMPORAL_TLS_CLIENT_CERT_PATH": "other.pem", "TEMPORAL_TLS_CLIENT_KEY_PATH": "other.key"}


@pytest.mark.parametrize(
    ("kind", "given"),
    [("tls", AUTHORITY), ("mtls", AUTHORITY | CLIENT), ("key", AUTHORITY | {"TEMPORAL_API_KEY": KEY})],
)
async def test_a_whole_execution(guarded: Guarded, kind: str, given: dict[str, str]) -> None:
    """API and worker that know nothing but the guarded address run a playbook to its end through it."""
    site = guarded.site
    for name in ("worker", "api"):
        site.terminate(name, 90)
        site.own[name] = guarded.variables(kind, given)
        site.start(name)
    await site.ready()
    steps = [
        {"action_ref": "core.echo", "parameters": {"word": "through"}},
        {"action_ref": "core.sleep", "parameters": {"seconds": 0.2}},
    ]
    ended = await site.finish(await site.run(steps))
    assert ended["status"] == "completed"


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        ("tls", {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": "other.pem"}, "signed by an authority that is not trusted"),
        ("mtls", AUTHORITY | STRANGER, "refuses the client certificate"),
        ("key", AUTHORITY | {"TEMPORAL_API_KEY": "another"}, "refuses TEMPORAL_API_KEY"),
        ("key", AUTHORITY, "refuses TEMPORAL_API_KEY, or asks for one"),
    ],
)
@pytest.mark.parametrize("program", ["worker", "cli.prepare"])
async def test_what_is_refused(guarded: Guarded, kind: str, given: dict[str, str], sentence: str, program: str) -> None:
    """A worker and the migration end with one sentence that names the address and what to set, and no traceback."""
    variables = guarded.variables(kind, given)
    line = [sys.executable, "-m", program, *(["temporal"] if program == "cli.prepare" else [])]
    done = await asyncio.to_thread(
        subprocess.run,
        line,
        env={**guarded.site.environment, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 1
    (told,) = [text for text in done.stderr.splitlines() if not text.startswith("{")]
    assert told.startswith(f"Temporal at {variables['STANCHION_TEMPORAL_ADDRESS']} cannot be reached: it")
    assert sentence in told


async def test_an_api_says_why_it_is_not_ready(guarded: Guarded) -> None:
    """An API serves, since what is stored can be read, and tells at /readyz that a client certificate is asked for."""
    site = guarded.site
    site.terminate("api", 90)
    site.own["api"] = guarded.variables("mtls", AUTHORITY)
    site.start("api")
    detail = ""
    async with site.http as http, asyncio.timeout(120):
        while "client certificate" not in detail:
            await asyncio.sleep(0.1)
            with contextlib.suppress(httpx2.TransportError):
                body = (await http.get("/readyz")).json()
                (detail,) = [
                    one["detail"] for one in body.get("error", body)["dependencies"] if one["name"] == "temporal"
                ]
    assert "TEMPORAL_TLS_CLIENT_CERT_PATH" in detail
