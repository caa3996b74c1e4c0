"""Four steps by hand on DBOS, behind the same bare endpoint as the floor: its own durable default, a SQLite file.

python bench/peer_dbos.py PORT FOLDER                    (in an environment of its own, see bench/peers.py)
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import uvicorn
from dbos import DBOS, DBOSConfig, SetWorkflowID
from fastapi import FastAPI

config: DBOSConfig = {"name": "peer", "system_database_url": f"sqlite:///{sys.argv[2]}/dbos.sqlite"}
DBOS(config=config)
app = FastAPI()


@DBOS.step()
async def nothing(number: int) -> int:
    """Answers at once."""
    return number


@DBOS.workflow()
async def four(steps: int) -> int:
    """Four steps in a row."""
    for number in range(steps):
        await nothing(number)
    return steps


@app.post("/run", status_code=202)
async def run(body: dict[str, Any]) -> dict[str, str]:
    """Starts the workflow."""
    workflow_id = str(uuid.uuid4())
    with SetWorkflowID(workflow_id):
        await DBOS.start_workflow_async(four, 4)
    return {"id": workflow_id, "status": "pending"}


@app.get("/run/{workflow_id}")
async def status(workflow_id: str) -> dict[str, str]:
    """How it stands."""
    found = await DBOS.get_workflow_status_async(workflow_id)
    return {"id": workflow_id, "status": "completed" if found and found.status == "SUCCESS" else "running"}


if __name__ == "__main__":
    DBOS.launch()
    # Idle connections are kept as long as ours: a server that closes one now and then closes one in use.
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, timeout_keep_alive=75
    )
