"""An execution's page while it runs: what changes, as server-sent events that the page puts in its place."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from api.artifact_json import artifact_json
from api.console.backend import EXECUTIONS, Backend, path_of
from api.console.execution_view import View, announcement, needs_io
from api.console.names import Names, names_of
from api.console.pages import HEADERS
from api.console.sessions import SignedIn, Visitor
from api.event_ids import read_event_id, signature, state_letter
from api.execution_json import execution_json
from api.executions import Executions
from api.services import Services, ServicesDep
from executions.truth import Truth
from playbooks.record import Json
from storage import artifacts

router = APIRouter(include_in_schema=False)


@router.get("/executions/{execution_id}/live", name="console.live")
async def live(request: Request, services: ServicesDep, visitor: SignedIn, execution_id: str) -> Response:
    """Follow an execution: ``since`` in the address says what the page has shown already."""
    # Asked of the interface first, which judges whether the visitor may see it.
    execution = await Backend(request, visitor).get(path_of(EXECUTIONS, execution_id))
    names = await names_of(services, visitor, [execution])
    truth = await services.executions.read(execution_id)
    shown = read_event_id(request.query_params.get("since", ""), len(truth.revision.steps))
    follower = _Follower(services, visitor, names, shown)
    return StreamingResponse(
        _stream(services.executions, truth, follower),
        media_type="text/event-stream",
        headers={**HEADERS, "X-Accel-Buffering": "no"},
    )


async def _stream(service: Executions, first: Truth, follower: _Follower) -> AsyncIterator[str]:
    async def read() -> Truth:
        return await service.read(first.row.id)

    yield "retry: 2000\n\n"
    last = first
    async for heard in service.watches.listen(first, read):
        if heard is None:
            yield ": still here\n\n"
            continue
        last = heard.truth
        parts = await follower.parts(last)
        if parts:
            yield _event("change", parts)
    if last.is_final:
        yield _event("end", "")


class _Follower:
    """What one open page has been shown, and what it is to be shown next."""

    def __init__(self, services: Services, visitor: Visitor, names: Names, shown: tuple[str, list[str]] | None) -> None:
        self._services = services
        self._visitor = visitor
        self._names = names
        self._state, self._signatures = shown or ("", [])
        self._acts: tuple[str, str | None] | None = None

    async def parts(self, truth: Truth) -> str:
        """The parts of the page that have changed; empty where none has."""
        state = state_letter(truth.record.state)
        signatures = [signature(step) for step in truth.record.steps]
        known = self._signatures or [""] * len(signatures)
        changed = [index for index, now in enumerate(signatures) if known[index] != now]
        if not changed and state == self._state and not truth.is_final:
            return ""
        began_so, self._state, self._signatures = state == self._state, state, signatures
        view = View(await self._execution(truth), self._visitor, self._names)
        # The page itself has shown the buttons of the state that it began with.
        with_acts = view.acts() != self._acts and not (self._acts is None and began_so)
        self._acts = view.acts()
        # At the end every step knows its part of the whole time, and in a rehearsal what it would have done.
        shown = range(len(signatures)) if truth.is_final else changed
        return view.parts(shown, announcement(view.execution, changed), with_acts=with_acts)

    async def _execution(self, truth: Truth) -> Json:
        service = self._services.executions
        execution = execution_json(truth, service.ui_url)
        if needs_io(execution):
            execution = execution_json(truth, service.ui_url, await service.io(truth) or {})
        made = await self._services.database.read(artifacts.list_artifacts, truth.row.id)
        return {**execution, "artifacts": [artifact_json(row) for row in made]}


def _event(name: str, text: str) -> str:
    lines = "".join(f"data: {line}\n" for line in text.split("\n"))
    return f"event: {name}\n{lines}\n"
