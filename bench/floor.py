"""The floor: what somebody writes by hand who wants four activities behind an endpoint, and nothing else.

The same Temporal server, the SDK's defaults, a bare FastAPI application.  No checks, no record, no conflict rule.

    python -m bench.floor worker | python -m bench.floor api PORT        (BENCH_TEMPORAL names the server)
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from temporalio.client import Client
from temporalio.worker import Worker

from bench.floor_workflow import QUEUE, Floor, WaitingFloor, WideFloor, nothing


async def serve_worker() -> None:
    """Works until it is killed."""
    client = await Client.connect(os.environ["BENCH_TEMPORAL"])
    await Worker(client, task_queue=QUEUE, workflows=[Floor, WaitingFloor, WideFloor], activities=[nothing]).run()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connects before the first request."""
    app.state.client = await Client.connect(os.environ["BENCH_TEMPORAL"])
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/run", status_code=202)
async def run(body: dict[str, Any]) -> dict[str, str]:
    """Starts the workflow."""
    workflow_id = f"floor-{uuid.uuid4()}"
    await app.state.client.start_workflow(Floor.run, 4, id=workflow_id, task_queue=QUEUE)
    return {"id": workflow_id, "status": "pending"}


@app.get("/run/{workflow_id}")
async def status(workflow_id: str) -> dict[str, str]:
    """Describes the workflow."""
    description = await app.state.client.get_workflow_handle(workflow_id).describe()
    assert description.status is not None
    return {"id": workflow_id, "status": description.status.name.lower()}


@app.post("/wait", status_code=202)
async def wait(body: dict[str, Any]) -> dict[str, str]:
    """Starts a workflow that waits."""
    workflow_id = f"floor-{uuid.uuid4()}"
    await app.state.client.start_workflow(WaitingFloor.run, id=workflow_id, task_queue=QUEUE)
    return {"id": workflow_id, "status": "pending"}


@app.post("/run/{workflow_id}/cancel")
async def cancel(workflow_id: str) -> dict[str, str]:
    """Requests cancellation."""
    await app.state.client.get_workflow_handle(workflow_id).cancel()
    return {"id": workflow_id}


@app.post("/wide")
async def wide(body: dict[str, int]) -> dict[str, int]:
    """Runs many activities at once, to their end."""
    count = await app.state.client.execute_workflow(
        WideFloor.run, body["count"], id=f"floor-{uuid.uuid4()}", task_queue=QUEUE
    )
    return {"count": count}


def main(arguments: list[str]) -> None:
    """Entry."""
    if arguments[0] == "worker":
        asyncio.run(serve_worker())
    else:
        # Idle connections are kept as long as ours: a server that closes one now and then closes one in use.
        uvicorn.run(
            app, host="127.0.0.1", port=int(arguments[1]), log_level="warning", access_log=False, timeout_keep_alive=75
        )


if __name__ == "__main__":
    main(sys.argv[1:])
