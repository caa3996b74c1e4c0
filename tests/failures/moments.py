"""The moments of a run in which something may fail: how a run is brought there, and what it should come to.

Everything that can be counted is a line in a file that a step of the run writes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.failures.site import Site

Steps = list[dict[str, Any]]


@dataclass
class Case:
    """One run on its way to a moment."""

    site: Site
    name: str
    playbook: str = ""
    asset: str = ""
    execution: str | None = None
    key: str = field(default_factory=lambda: os.urandom(8).hex())
    request: asyncio.Task[httpx2.Response] | None = None
    """A request that has no answer yet."""

    @property
    def effects(self) -> Path:
        """What the run has done, a line for each time."""
        return self.site.file(f"{self.name}.effects")

    @property
    def gate(self) -> Path:
        """The file for which a step waits."""
        return self.site.file(f"{self.name}.gate")

    def lines(self) -> list[str]:
        """The effects so far."""
        return self.effects.read_text().split() if self.effects.exists() else []

    def append(self, *, once: bool = True, line: str = "did", wait: bool = False, **more: Any) -> dict[str, Any]:
        """A step that has an effect."""
        parameters: dict[str, Any] = {"path": str(self.effects), "line": line, **more}
        if wait:
            parameters["until"] = str(self.gate)
        return {"action_ref": "test.append_once" if once else "test.append", "parameters": parameters}

    async def store(self, steps: Steps) -> None:
        """Stores the playbook and an asset."""
        body = {"name": f"{self.name} {self.key}", "steps": steps}
        self.playbook = (await self.site.post("/api/playbooks", body)).json()["id"]
        self.asset = (await self.site.post("/api/assets", {"name": self.name, "type": "host"})).json()["id"]

    async def begin(self) -> None:
        """Starts the run; 202."""
        answer = await self.site.post(*self._start(), key=self.key)
        assert answer.status_code == 202, answer.text
        self.execution = answer.json()["execution_id"]

    def begin_unanswered(self) -> None:
        """Asks for the run, and does not wait for the answer."""
        self.request = asyncio.create_task(self.site.post(*self._start(), key=self.key))

    async def insist(self) -> None:
        """Asks for the run until there is an answer: with the same key, so that it is one run."""
        if self.request is not None:
            await asyncio.wait({self.request})
        answer = await self.site.insist(*self._start(), key=self.key)
        assert answer.status_code == 202, answer.text
        self.execution = answer.json()["execution_id"]

    def _start(self) -> tuple[str, dict[str, Any]]:
        return f"/api/playbooks/{self.playbook}/run", {"target_asset_id": self.asset}


async def _nothing(case: Case) -> None:
    """Nothing more to do."""


@dataclass(frozen=True)
class Moment:
    """A moment: ``prepare`` brings a run near to it, ``arrive`` into it, and ``proceed`` is what its client does next.

    All runs are prepared before the first arrives, since arriving may hold a link.  ``during`` comes after the strike.
    """

    name: str
    title: str
    steps: Callable[[Case], Steps]
    prepare: Callable[[Case], Awaitable[None]]
    arrive: Callable[[Case], Awaitable[None]] = _nothing
    proceed: Callable[[Case], Awaitable[None]] = _nothing
    during: Callable[[Case], Awaitable[None]] = _nothing


async def _begun(case: Case) -> None:
    """The run is at its first step, whose effect is there."""
    await case.begin()
    await case.site.until(case.lines, f"{case.name}: the step has begun")


async def _waiting(case: Case) -> None:
    """The run waits in its step of another kind."""
    await case.begin()
    assert case.execution is not None

    async def waits() -> bool:
        async with case.site.house.http as http:
            shown = (await http.get(f"/api/playbooks/executions/{case.execution}")).json()
        return any(step.get("waiting_for") for step in shown["steps"])

    await case.site.until(waits, f"{case.name}: the step waits")


async def _open_gate(case: Case) -> None:
    case.gate.touch()


async def _unanswered_row(case: Case) -> None:
    """The row is written, and what the API sends to Temporal is held."""
    case.site.links["api-temporal"].hold(up=True, down=True)
    case.begin_unanswered()
    await asyncio.sleep(0.5)


async def _accepted_unanswered(case: Case) -> None:
    """Temporal has the run, and its answer is held."""
    case.site.links["api-temporal"].hold(up=False, down=True)
    case.begin_unanswered()
    temporal = await case.site.connect()
    handle = temporal.get_workflow_handle(f"{case.playbook}:{case.asset}")

    async def is_known() -> bool:
        try:
            await handle.describe()
        except Exception:
            return False
        return True

    await case.site.until(is_known, f"{case.name}: Temporal has it")


async def _no_task_gets_through(case: Case) -> None:
    """The run is accepted, and no worker hears of it."""
    case.site.links["worker-temporal"].hold(up=False, down=True)
    await case.begin()


async def _result_is_held(case: Case) -> None:
    """The action has ended, and its result does not get through."""
    case.site.links["worker-temporal"].hold(up=True, down=False)
    case.gate.touch()
    await case.site.until(lambda: "end" in case.lines(), f"{case.name}: the action has ended")


async def _settles_on_sqlite(case: Case) -> None:
    """On a file there is nothing to hold: the run comes to its end after the strike."""
    if case.site.postgres is None:
        case.gate.touch()
        await case.site.until(lambda: "end" in case.lines(), f"{case.name}: the last action has ended")


async def _record_is_held(case: Case) -> None:
    """The run settles, and its record does not get through to the database."""
    if case.site.postgres is None:
        return
    case.site.links["worker-database"].hold()
    case.gate.touch()
    await case.site.until(lambda: "end" in case.lines(), f"{case.name}: the last action has ended")
    await asyncio.sleep(0.5)


async def _is_being_cancelled(case: Case) -> None:
    """The cancel is asked for, and the action has not stopped yet."""
    path = f"/api/playbooks/executions/{case.execution}/cancel"
    case.request = asyncio.create_task(case.site.post(path, {"reason": "the matrix"}))
    await asyncio.sleep(0.3)


async def _cancel_again(case: Case) -> None:
    """The client asks for the cancel until it is answered."""
    if case.request is not None:
        await asyncio.wait({case.request})
    answer = await case.site.insist(f"/api/playbooks/executions/{case.execution}/cancel")
    assert answer.status_code == 200, answer.text


async def _approve(case: Case) -> None:
    """Somebody approves, until it is answered; that it was decided already is an answer as well."""
    path = f"/api/playbooks/executions/{case.execution}/steps/ask/approve"
    answer = await case.site.insist(path, {"comment": "go on"})
    assert answer.status_code in (200, 409), answer.text


async def _insist(case: Case) -> None:
    await case.insist()


def _timer(case: Case) -> Steps:
    wait = {"id": "wait", "type": "delay", "duration": "4s"}
    return [case.append(line="before"), wait, case.append(line="after")]


def _approval(case: Case) -> Steps:
    return [{"id": "ask", "type": "approval", "message": "go on?", "timeout": "1h"}, case.append()]


def _stubborn(case: Case) -> Steps:
    return [
        case.append(line="before"),
        {"action_ref": "test.stubborn", "parameters": {"seconds": 5}},
        case.append(line="after"),
    ]


# In the order in which they can be brought about together: what holds a link comes after what needs it.
MOMENTS: Final[Sequence[Moment]] = (
    Moment(
        "idempotent",
        "inside a step that may be repeated",
        lambda case: [case.append(once=False, wait=True)],
        _begun,
        proceed=_open_gate,
    ),
    Moment("once", "inside a step that may not", lambda case: [case.append(wait=True)], _begun, proceed=_open_gate),
    Moment("timer", "in a timer", _timer, _waiting),
    Moment("approval", "in an approval", _approval, _waiting, proceed=_approve),
    Moment("cancelling", "while cancelling", _stubborn, _begun, _is_being_cancelled, _cancel_again),
    Moment(
        "settling",
        "while settling",
        lambda case: [case.append(once=False, wait=True, end="end")],
        _begun,
        _record_is_held,
        _open_gate,
        _settles_on_sqlite,
    ),
    Moment(
        "result",
        "between result and record",
        lambda case: [case.append(wait=True, end="end")],
        _begun,
        _result_is_held,
        _open_gate,
    ),
    Moment("unstarted", "before a step", lambda case: [case.append()], _nothing, _no_task_gets_through),
    Moment(
        "accepted",
        "after the start is accepted, before its answer",
        lambda case: [case.append()],
        _nothing,
        _accepted_unanswered,
        _insist,
    ),
    Moment(
        "unaccepted", "before the start is accepted", lambda case: [case.append()], _nothing, _unanswered_row, _insist
    ),
)
