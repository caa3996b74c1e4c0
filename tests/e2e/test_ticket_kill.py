"""kill -9 of the worker between the request that opens a ticket and its answer: there is one ticket."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from tests.house import house
from tests.ticket_services import SITES, TOKEN, Fault, TicketSite, ticket_site


def step(site: TicketSite, action: str, **more: Any) -> dict[str, Any]:
    """A step that works on ``site``."""
    parameters = {**site.target, "token": "{{ secrets.tracker }}", **more}
    return {
        "id": f"{action.partition('.')[2]}_{site.service}",
        "name": f"{action} {site.service}",
        "action_ref": action,
    } | {"parameters": parameters}


async def test_a_killed_worker_opens_no_second_ticket(tmp_path: Path) -> None:
    """Of each service: the ticket was opened and its answer never heard; then the same with the comment."""
    async with contextlib.AsyncExitStack() as stack:
        sites = [await stack.enter_async_context(ticket_site(service)) for service in SITES]
        running = await stack.enter_async_context(house(tmp_path, extra={"STANCHION_SECRET_TRACKER": TOKEN}))
        for site in sites:
            site.faults.append(Fault("POST", r"/issues?$", "hang"))
            site.faults.append(Fault("POST", r"/(comments|notes|comment)$", "hang"))
        create = [step(site, "ticket.create", title="Finding", text="A finding.") for site in sites]
        comment = [
            step(site, "ticket.comment", ticket=f"{{{{ steps.create_{site.service}.output.id }}}}", text="Seen.")
            for site in sites
        ]
        steps: list[dict[str, Any]] = [
            {"id": name, "name": name, "type": "parallel", "branches": [{"steps": [one]} for one in branches]}
            for name, branches in (("open", create), ("write", comment))
        ]
        execution_id = await running.run(steps)
        for _ in ("tickets", "comments"):
            for site in sites:
                await asyncio.wait_for(site.hanging.wait(), 60)
                site.hanging.clear()
            running.kill("worker")
            running.start("worker")
        status = await running.finish(execution_id, 60)
    assert status["status"] == "completed", status
    assert [len(site.issues) for site in sites] == [1, 1, 1, 1]
    assert [[len(kept) for kept in site.comments.values()] for site in sites] == [[1]] * 4
    opened = [
        [one.path for one in site.asked if one.path.endswith(("/issue", "/issues")) and one.body] for site in sites
    ]
    assert [len(paths) for paths in opened] == [1, 1, 1, 1]
