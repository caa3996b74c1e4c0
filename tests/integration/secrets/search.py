"""Everything that a house has written or tells, as pairs of a place and its bytes."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from engine.client import connect
from settings import Settings
from tests.house import House

Place = tuple[str, bytes]


async def everything(house: House, settings: Settings, executions: list[str]) -> AsyncIterator[Place]:
    """Files, cells of both databases, histories with their payloads decoded, and what each route answers."""
    for place in files(house.folder):
        yield place
    client = await connect(settings)
    async for place in histories(client):
        yield place
    async with house.http as http:
        async for place in answers(http, executions):
            yield place


def files(folder: Path) -> Iterator[Place]:
    """Each file as it lies on the disk, and each cell of a database: a page may cut a value in two."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield str(path.relative_to(folder)), content
        if content.startswith(b"SQLite format 3"):
            yield from cells(path)


def cells(path: Path) -> Iterator[Place]:
    """Each cell of text or bytes of an SQLite file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in database.execute(f'SELECT * FROM "{table}"'):
                for cell in row:
                    if isinstance(cell, str | bytes):
                        yield f"{path.name}: {table}", cell.encode() if isinstance(cell, str) else cell
    database.close()


async def histories(client: Client) -> AsyncIterator[Place]:
    """The history of each workflow, and each payload in it, decrypted."""
    codec = client.data_converter.payload_codec
    async for workflow in client.list_workflows():
        handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
        history = (await handle.fetch_history()).to_json_dict()
        yield f"history of {workflow.id}", repr(history).encode()
        for payload in payloads(history):
            decoded = (await codec.decode([payload]))[0] if codec is not None else payload
            yield f"payload in the history of {workflow.id}", decoded.data


def payloads(value: Any) -> Iterator[Payload]:
    """Every payload in a history, wherever it stands."""
    if isinstance(value, dict):
        if isinstance(value.get("metadata"), dict) and isinstance(value.get("data"), str):
            metadata = {name: base64.b64decode(item) for name, item in value["metadata"].items()}
            yield Payload(metadata=metadata, data=base64.b64decode(value["data"]))
        for item in value.values():
            yield from payloads(item)
    elif isinstance(value, list):
        for item in value:
            yield from payloads(item)


async def answers(http: httpx2.AsyncClient, executions: list[str]) -> AsyncIterator[Place]:
    """What every GET of the interface answers that needs no other id than these."""
    document = (await http.get("/openapi.json")).json()
    for path, operations in document["paths"].items():
        if "get" not in operations or path.count("{") > 1 or (path.count("{") == 1 and "{execution_id}" not in path):
            continue
        for execution in executions if "{" in path else [""]:
            address = path.replace("{execution_id}", execution)
            for query in ("", "?include=io", "?per_page=100"):
                answer = await http.get(address + query)
                yield f"GET {address}{query}", answer.content + repr(answer.headers).encode()
            if address.endswith("/artifacts"):
                for one in (await http.get(address)).json()["data"]:
                    yield f"artifact {one['name']}", (await http.get(f"{address}/{one['name']}")).content
