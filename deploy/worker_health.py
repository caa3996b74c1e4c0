"""Health check of a worker's container: exit code 0 while Temporal is asked for work from this host.

A worker serves nothing that could be asked, but it polls Temporal without a pause, and Temporal remembers who did.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from engine.client import API_RETRY, connect
from settings import Settings, settings

SILENCE_SECONDS = 120
"""Age of the last poll from which a worker counts as gone: an idle one polls again after a minute at the latest."""


async def is_alive(config: Settings, host: str) -> bool:
    """True when a worker on ``host`` polls the settings' task queue.

    Raises RuntimeError or RPCError when Temporal does not answer.
    """
    client = await connect(config, retry=API_RETRY)
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=config.task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=5))
    oldest = time.time() - SILENCE_SECONDS
    # The SDK names a worker <process id>@<host>.
    return any(
        poller.identity.rpartition("@")[2] == host and poller.last_access_time.seconds > oldest
        for poller in answer.pollers
    )


def main() -> None:
    """Ends with 0 when a worker of this host is alive, else with 1 and the reason."""
    fault = ""
    try:
        if not asyncio.run(is_alive(settings(), socket.gethostname())):
            fault = "Temporal hears of no worker on this host."
    except (RuntimeError, RPCError) as error:
        fault = f"Temporal does not answer: {error}"
    print(fault, file=sys.stderr, end="\n" if fault else "", flush=True)
    # Not by sys.exit: a thread of the SDK that ends while the interpreter does aborts the process now and then.
    os._exit(1 if fault else 0)


if __name__ == "__main__":
    main()
