"""Marker secrets through every action and its ways to fail; then everything that was written is searched for them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from activities.catalogue import BUILT_IN
from tests.conftest import PLUGINS
from tests.hosts import Machine, running_machine
from tests.house import ROOT, House, house
from tests.integration.secrets.drives import DRIVES, SCRIPT, Drive, Site
from tests.integration.secrets.leaky_service import leaky_service
from tests.integration.secrets.markers import Marker, forms, parts, written
from tests.integration.secrets.search import everything
from tests.mail_server import USER, mail_server
from tests.ticket_services import SITES, ticket_site
from tests.unit.activities.action_support import make_certificate

NEW_ACTION = "has no drive: add one to DRIVES in tests/integration/secrets/drives.py, with each way in for a secret"


def test_every_action_is_driven() -> None:
    """A new action is driven with secrets here, or this test says so."""
    missing = sorted({action.name for action in BUILT_IN} - set(DRIVES))
    assert missing == [], f"{', '.join(missing)} {NEW_ACTION}"


def test_the_search_finds_each_notation() -> None:
    """The search itself is no blank: each notation of a marker, inside of other text, is found."""
    marker = Marker("env", key="x")
    for value in (marker.hard, marker.plain):
        for text in written(value):
            assert any(form in f"a{text}b".encode() for form in forms(value)), text
        assert any(form in b"..." + value[:12].encode() for form in forms(value))


ENOUGH = ["core.echo", "core.fail", "core.set", "http.request", "notify.send", "report.render", "script.run"]
"""Actions that show every kind of output, error and artifact."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host with a user of each source."""
    tool = {"tool.py": SCRIPT.encode()}
    with running_machine(tmp_path_factory.mktemp("machine") / "host", files=tool) as running:
        yield running


def markers_of(machine: Machine, *sources: str) -> dict[str, Marker]:
    """The secrets of each source, with users on the machine that have them as passwords."""
    markers = {source: Marker(source, machine.private_key) for source in sources}
    for marker in markers.values():
        machine.inside(f"useradd --create-home u-{marker.source}")
        machine.inside(f"echo 'u-{marker.source}:{marker.plain}' | chpasswd")
    return markers


@contextlib.asynccontextmanager
async def site_of(machine: Machine, service: str, markers: dict[str, Marker], folder: Path) -> AsyncIterator[Site]:
    """Everything that is driven against: trackers, a mail server and a syslog server that know the markers."""
    async with contextlib.AsyncExitStack() as stack:
        trackers = {}
        for name in SITES:
            tracker = await stack.enter_async_context(ticket_site(name))
            tracker.tokens = {marker.plain for marker in markers.values()}
            tracker.fill(1)
            trackers[name] = {key: value for key, value in tracker.target.items() if key != "token"}
        certificate = make_certificate(folder)
        mail = await stack.enter_async_context(mail_server(certificate.server_context, login=True))
        mail.passwords = {marker.plain for marker in markers.values()}
        mail.refuses = {
            f"leak-{source}@example.com": f"550 5.1.1 {' '.join(written(marker.plain))}"[:480]
            for source, marker in markers.items()
        }
        login = {"host": "127.0.0.1", "port": mail.port, "ca": certificate.file.read_text(), "username": USER}
        syslog = await stack.enter_async_context(await asyncio.start_server(_take, "127.0.0.1", 0))
        port = syslog.sockets[0].getsockname()[1]
        yield Site(service, machine, "python3 /host/tool.py", trackers, login, port)


async def _take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes what comes, as a syslog server does, and says nothing."""
    with contextlib.suppress(ConnectionError):
        while await reader.read(65536):
            pass
    writer.close()


def install_example(folder: Path) -> str:
    """The plug-in of docs/examples as an installed package; where Python finds it."""
    folder.mkdir()
    shutil.copy(ROOT / "docs" / "examples" / "stanchion-syslog" / "stanchion_syslog.py", folder)
    metadata = folder / "stanchion_syslog-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stanchion-syslog\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[stanchion.actions]\nsyslog-send = stanchion_syslog:SyslogSend\n")
    return f"{ROOT}:{PLUGINS}:{folder}"


async def drive_all(running: House, site: Site, markers: dict[str, Marker]) -> list[str]:
    """Runs every drive, rehearsed and for real, and cancels a step of each source; the executions.

    The actions are dealt out to the sources: what an action writes does not depend on where its secrets come from.
    """
    names = sorted(DRIVES)
    shares = [(marker, names[at :: len(markers)]) for at, marker in enumerate(markers.values())]
    each = await asyncio.gather(*(drive_share(running, site, *share) for share in shares))
    return [execution for executions in each for execution in executions]


async def drive_share(running: House, site: Site, marker: Marker, names: list[str]) -> list[str]:
    """The drives of the actions ``names`` with the secrets of one source."""
    drives = [(name, drive) for name in names for drive in DRIVES[name](site, marker)]
    steps = [step_of(index, name, drive) for index, (name, drive) in enumerate(drives)]
    rehearsed = await running.run(steps, dry_run=True)
    live = await running.run(steps)
    status = await running.finish(live, timeout=400)
    await running.finish(rehearsed, timeout=240)
    ended = [one["status"] if one["status"] == "completed" else one["error"]["code"] for one in status["steps"]]
    odd = [
        (name, drive.parameters, end, step.get("error"))
        for (name, drive), end, step in zip(drives, ended, status["steps"], strict=True)
        if end != drive.ends
    ]
    assert odd == []
    return [rehearsed, live, await cancel_one(running, site, marker)]


async def cancel_one(running: House, site: Site, marker: Marker) -> str:
    """Cancels a command on the machine while it runs; the execution."""
    started = f"/tmp/started-{marker.source}"
    login = site.login(private_key=marker.of("key"))
    sleeping = {
        "action_ref": "ssh.command",
        "parameters": {**login, "command": f"touch {started}; sleep 60 # {marker.of('plain')}"},
    }
    cancelled = await running.run([{"name": "Sleep", **sleeping}])
    await running.until_step(cancelled, 0, "running")
    async with asyncio.timeout(60):
        while site.machine.inside(f"ls {started}", check=False).strip() != started:
            await asyncio.sleep(0.1)
    await running.post(f"/api/playbooks/executions/{cancelled}/cancel", {}, 200)
    assert (await running.finish(cancelled, timeout=120))["status"] == "cancelled"
    return cancelled


def step_of(index: int, name: str, drive: Drive) -> dict[str, Any]:
    """The step of a drive; what fails is not retried."""
    return {
        "id": f"s{index}",
        "name": f"{name} {index}",
        "action_ref": name,
        "parameters": drive.parameters,
        "timeout": drive.timeout,
        "on_failure": "continue",
    }


async def leaks(running: House, key: str | None, executions: list[str], markers: dict[str, Marker]) -> dict[str, str]:
    """Where a marker was found, with the form in which it stands there."""
    settings = running.settings
    if key is not None:
        settings = settings.model_copy(update={"encryption_key": SecretStr(key)})
    wanted = {form: name for marker in markers.values() for form, name in parts(marker).items()}
    found: dict[str, str] = {}
    searched = 0
    async for place, content in everything(running, settings, executions):
        searched += 1
        for form, name in wanted.items():
            if form in content:
                at = content.index(form)
                around = content[max(0, at - 60) : at + len(form) + 20]
                found.setdefault(f"{place}: {name}", f"{form!r} in {around!r}")
    assert searched > 500
    return found


def assert_none(found: dict[str, str]) -> None:
    """Fails with every place in which a marker was found."""
    assert not found, "\n".join(f"{place}: {how}" for place, how in found.items())


async def test_no_secret_of_environment_files_or_vault_is_written(machine: Machine, tmp_path: Path) -> None:
    """Nothing is encrypted here: Temporal's file and the database are searched as they lie on the disk."""
    markers = markers_of(machine, "env", "file", "vault")
    folder, secrets_dir = tmp_path / "data", tmp_path / "secrets"
    folder.mkdir()
    secrets_dir.mkdir()
    for name, value in markers["file"].values().items():
        (secrets_dir / name).write_text(value)
    with leaky_service(markers) as service:
        worker = {f"STANCHION_SECRET_{name.upper()}": value for name, value in markers["env"].values().items()}
        worker |= {"STANCHION_SECRETS_DIR": str(secrets_dir), "STANCHION_VAULT_URL": service}
        worker |= {"STANCHION_VAULT_TOKEN": "s.token"}
        extra = {"STANCHION_LOG_LEVEL": "DEBUG", "PYTHONPATH": install_example(tmp_path / "plug-in")}
        async with (
            site_of(machine, service, markers, tmp_path) as site,
            house(folder, own={"worker": worker}, extra=extra) as running,
        ):
            executions = await drive_all(running, site, markers)
            assert_none(await leaks(running, None, executions, markers))


async def test_no_secret_of_the_database_is_written(machine: Machine, tmp_path: Path) -> None:
    """The encrypted table: its secrets are in no file, and in no payload once that is decrypted."""
    markers = markers_of(machine, "table")
    folder = tmp_path / "data"
    folder.mkdir()
    key = base64.b64encode(os.urandom(32)).decode()
    extra = {"STANCHION_ENCRYPTION_KEY": key, "STANCHION_LOG_LEVEL": "DEBUG"}
    with leaky_service(markers) as service:
        async with site_of(machine, service, markers, tmp_path) as site, house(folder, extra=extra) as running:
            async with running.http as http:
                for name, value in markers["table"].values().items():
                    assert (await http.put(f"/api/secrets/{name}", json={"value": value})).status_code == 200
            executions = await drive_share(running, site, markers["table"], ENOUGH)
            assert_none(await leaks(running, key, executions, markers))
