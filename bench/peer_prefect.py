"""Four tasks by hand on Prefect, behind the same bare endpoint as the floor, with its server on a SQLite file.

    python bench/peer_prefect.py PORT                        (in an environment of its own, see bench/peers.py)

The flow runs in the endpoint's own process.  That favours it: such a run is lost with its process, where one of a
deployment is not, and a deployment's begins seconds later.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import Any

import uvicorn
from fastapi import FastAPI
from prefect import flow, task

app = FastAPI()
runs: dict[str, asyncio.Task[int]] = {}


@task
async def nothing(number: int) -> int:
    """Answers at once."""
    return number


@flow(log_prints=False)
async def four(steps: int) -> int:
    """Four tasks in a row."""
    for number in range(steps):
        await nothing(number)
    return steps


@app.post("/run", status_code=202)
async def run(body: dict[str, Any]) -> dict[str, str]:
    """Starts the flow."""
    run_id = str(uuid.uuid4())
    runs[run_id] = asyncio.create_task(four(4))
    return {"id": run_id, "status": "pending"}


@app.get("/run/{run_id}")
async def status(run_id: str) -> dict[str, str]:
    """How it stands."""
    return {"id": run_id, "status": "completed" if runs[run_id].done() else "running"}


if __name__ == "__main__":
    # Idle connections are kept as long as ours: a server that closes one now and then closes one in use.
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, timeout_keep_alive=75
    )
