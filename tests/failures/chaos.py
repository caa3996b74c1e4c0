"""Runs under kills at random moments, and what is counted of them.

Everything that is chosen comes from one seed, so that the same runs meet the same kills in the same order; the hair
by which a kill comes sooner or later is the machine's.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import random
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from tests.failures.moments import Case
from tests.failures.site import Site
from tests.failures.strikes import PARTS, kill, start
from tests.stack import FINAL

AT_ONCE: Final = 24
"""Runs under way at one time."""
PAUSES: Final = (0.3, 2.0)
"""Seconds between two kills, at least and at most."""
DOWN: Final = (0.0, 1.0)
"""Seconds for which what was killed stays away."""
KILLING_SECONDS: Final = 2.0
"""Seconds for which is killed, for each execution."""
STUCK_SECONDS: Final = 120.0
"""Where no run ends for so long after the last kill, those that have not ended count as stuck."""
PROMISES: Final = (
    "lost",
    "stuck",
    "done twice",
    "done without being done",
    "final state changed",
    "open step",
    "refused",
)


@dataclass
class Tally:
    """What was counted: executions by their end, kills by part, and each broken promise with its execution."""

    ends: collections.Counter[str] = field(default_factory=collections.Counter)
    kills: collections.Counter[str] = field(default_factory=collections.Counter)
    broken: dict[str, list[str]] = field(default_factory=lambda: {promise: [] for promise in PROMISES})
    seconds: float = 0.0
    after_the_last_kill: int = 0
    """Executions that had not ended, or not begun, when the killing was over."""

    def report(self) -> str:
        """The figures, a line each."""
        lines = [
            f"executions: {sum(self.ends.values())} ({_listed(self.ends)})",
            f"kills: {sum(self.kills.values())} ({_listed(self.kills)})",
            *(f"{promise}: {len(found)}" for promise, found in self.broken.items()),
            f"ended after the last kill: {self.after_the_last_kill}",
            f"seconds: {self.seconds:.0f}",
        ]
        return "\n".join(lines)


def _listed(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


Ended = tuple[Case, dict[str, Any]]
"""An execution that has come to its end, with its last status."""


@dataclass(frozen=True)
class Kind:
    """A kind of run: its steps, what its client does, and whether its first effect may be repeated."""

    name: str
    once: bool
    decides: str | None = None
    """``approve`` or ``cancel``: what the client does once the run waits for it."""

    def steps(self, case: Case, seconds: float) -> list[dict[str, Any]]:
        """The steps; the effects are ``did`` and, at the end, ``after``."""
        work = case.append(once=self.once, seconds=seconds)
        last = case.append(once=True, line="after")
        middle: dict[str, list[dict[str, Any]]] = {
            "approval": [{"id": "ask", "type": "approval", "message": "go on?", "timeout": "1h"}],
            "cancel": [{"id": "hold", "type": "delay", "duration": "10m"}],
            "delay": [{"type": "delay", "duration": f"{max(1, round(seconds * 4))}s"}],
            "loop": [
                {
                    "id": "each",
                    "type": "foreach",
                    "items": "{{ [1, 2, 3] }}",
                    "steps": [{"action_ref": "core.sleep", "parameters": {"seconds": seconds}}],
                }
            ],
        }
        return [work, *middle.get(self.name, []), last]


KINDS: Final = (
    Kind("plain", once=True),
    Kind("again", once=False),
    Kind("delay", once=True),
    Kind("loop", once=False),
    Kind("approval", once=True, decides="approve"),
    Kind("cancel", once=False, decides="cancel"),
)


@dataclass
class Chaos:
    """Executions under kills, on one site."""

    site: Site
    seed: int
    executions: int
    tally: Tally = field(default_factory=Tally)

    async def run(self) -> Tally:
        """Runs everything to its end, while parts die; then looks at every execution again."""
        began = time.monotonic()
        choose = random.Random(self.seed)
        plans = [(number, choose.choice(KINDS), choose.uniform(0.0, 0.5)) for number in range(self.executions)]
        places = asyncio.Semaphore(AT_ONCE)
        killer = asyncio.create_task(self._kill(random.Random(self.seed + 1)))
        try:
            async with self.site.house.http as http:
                runs = [asyncio.create_task(self._one(http, places, *plan)) for plan in plans]
                await asyncio.wait(runs, timeout=self.executions * KILLING_SECONDS)
                if killer.done():
                    killer.result()  # raises what has ended it
                await _end(killer)
                await self._raise_the_dead()
                await self._wait_for(runs)
        finally:
            await _end(killer)
        await self._look_again([one for run in runs if not run.cancelled() and (one := run.result()) is not None])
        self.tally.seconds = time.monotonic() - began
        return self.tally

    async def _wait_for(self, runs: list[asyncio.Task[Ended | None]]) -> None:
        """Waits as long as runs end; what then is left is stuck."""
        left = {run for run in runs if not run.done()}
        self.tally.after_the_last_kill = len(left)
        while left:
            done, left = await asyncio.wait(left, timeout=STUCK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
        for run in left:
            run.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _kill(self, choose: random.Random) -> None:
        """Kills one part after the other, and starts it again, whatever comes."""
        while True:
            await asyncio.sleep(choose.uniform(*PAUSES))
            part = choose.choice(PARTS)
            away = choose.uniform(*DOWN)
            await kill(part)(self.site)
            self.tally.kills[part] += 1
            await asyncio.sleep(away)
            await asyncio.shield(start(part)(self.site))

    async def _raise_the_dead(self) -> None:
        """What the killer left dead is started, and everything serves."""
        for name in ("temporal", "worker", "api"):
            if not self.site.house.is_up(name) or self.site.house.has_ended(name):
                self.site.house.start(name)
        assert self.site.postgres is not None
        if not self.site.postgres.is_up:
            await asyncio.to_thread(self.site.postgres.start)
        await self.site.house.ready(60)

    async def _one(
        self, http: httpx2.AsyncClient, places: asyncio.Semaphore, number: int, kind: Kind, seconds: float
    ) -> Ended | None:
        """One execution, from its definition to its end."""
        case = Case(self.site, f"run-{number}")
        async with places:
            try:
                if not await self._start(http, case, kind.steps(case, seconds)):
                    return None
                status = await self._follow(http, case, kind)
            except asyncio.CancelledError:
                self.tally.broken["stuck"].append(f"{case.name} {case.execution}")
                raise
            if status is None:
                self.tally.broken["lost"].append(f"{case.name} {case.execution}")
                return None
        self.tally.ends[status["status"]] += 1
        self._hold_to_promises(case, kind, status)
        return case, status

    async def _start(self, http: httpx2.AsyncClient, case: Case, steps: list[dict[str, Any]]) -> bool:
        """As a good client does: the same request again until there is an answer."""
        playbook = {"name": f"{case.name} {case.key}", "steps": steps}
        case.playbook = await self._create(http, "/api/playbooks", playbook, case)
        case.asset = await self._create(http, "/api/assets", {"name": case.name, "type": "host"}, case)
        body = {"target_asset_id": case.asset}
        answer = await _insist(http, "POST", f"/api/playbooks/{case.playbook}/run", body, case.key)
        if answer.status_code != 202:
            self.tally.broken["refused"].append(f"{case.name}: {answer.status_code} {answer.text}")
            return False
        case.execution = answer.json()["execution_id"]
        return True

    async def _create(self, http: httpx2.AsyncClient, path: str, body: dict[str, Any], case: Case) -> str:
        """What is stored twice for want of an answer is told as a conflict, and made under another name."""
        for attempt in range(100):
            answer = await _insist(http, "POST", path, {**body, "name": f"{body['name']} {attempt}"}, None)
            if answer.status_code == 201:
                return str(answer.json()["id"])
            assert answer.status_code == 409, answer.text
        raise AssertionError(f"{case.name} could not be stored")

    async def _follow(self, http: httpx2.AsyncClient, case: Case, kind: Kind) -> dict[str, Any] | None:
        """Polls to the end, deciding what is to be decided; what was final must stay so.  None for one that is lost."""
        final: dict[int, str] = {}
        path = f"/api/playbooks/executions/{case.execution}"
        while True:
            answer = await _insist(http, "GET", path, None, None)
            if answer.status_code == 404:
                return None
            status: dict[str, Any] = answer.json()
            for index, step in enumerate(status["steps"]):
                if final.get(index, step["status"]) != step["status"]:
                    self.tally.broken["final state changed"].append(f"{case.execution} step {index}")
                if step["status"] in FINAL:
                    final[index] = step["status"]
            if status["status"] in FINAL:
                return status
            if kind.decides and any(step.get("waiting_for") for step in status["steps"][1:]):
                await self._decide(http, path, kind.decides)
            await asyncio.sleep(0.2)

    async def _decide(self, http: httpx2.AsyncClient, path: str, decision: str) -> None:
        """Approves or cancels, until that is answered; 409 says that it was done by a request that had no answer."""
        there = f"{path}/steps/ask/approve" if decision == "approve" else f"{path}/cancel"
        answer = await _insist(http, "POST", there, {}, None)
        assert answer.status_code in (200, 409), answer.text

    def _hold_to_promises(self, case: Case, kind: Kind, status: dict[str, Any]) -> None:
        """What can be counted of one execution that has ended."""
        who = f"{case.execution} ({kind.name}, {status['status']})"
        lines = case.lines()
        if lines.count("after") > 1 or (kind.once and lines.count("did") > 1):
            self.tally.broken["done twice"].append(f"{who}: {lines}")
        if status["status"] == "completed" and not (lines.count("did") and lines.count("after")):
            self.tally.broken["done without being done"].append(f"{who}: {lines}")
        if any(step["status"] not in FINAL for step in status["steps"]):
            self.tally.broken["open step"].append(who)

    async def _look_again(self, ended: list[Ended]) -> None:
        """Every execution is there still, as it was, and has done nothing more."""
        async with self.site.house.http as http:
            for case, before in ended:
                answer = await _insist(http, "GET", f"/api/playbooks/executions/{case.execution}", None, None)
                if answer.status_code != 200:
                    self.tally.broken["lost"].append(str(case.execution))
                elif [answer.json()[name] for name in ("status", "steps")] != [before["status"], before["steps"]]:
                    self.tally.broken["final state changed"].append(str(case.execution))
                if case.lines().count("after") > 1:
                    self.tally.broken["done twice"].append(f"{case.execution}, after its end")


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _insist(
    http: httpx2.AsyncClient, method: str, path: str, body: dict[str, Any] | None, key: str | None
) -> httpx2.Response:
    """Asks until there is an answer that is not 503."""
    headers = {"Idempotency-Key": key} if key else {}
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = await http.request(method, path, json=body, headers=headers)
            if answer.status_code != 503:
                return answer
        await asyncio.sleep(0.1)
