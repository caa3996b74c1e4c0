"""Executions: run, status, lists, cancel, events, comparison."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response, StreamingResponse

from api.artifact_json import artifact_json
from api.auth import CurrentPrincipal, guard
from api.body import read_json, read_optional_json
from api.compare import comparison
from api.execution_json import execution_json, summary_json
from api.execution_models import (
    CancelBody,
    ComparisonAnswer,
    ExecutionAnswer,
    ExecutionId,
    ExecutionSummaryAnswer,
    PlaybookId,
    RerunBody,
    RunBody,
    StepEvent,
)
from api.executions import Executions, Filter, Listed
from api.labels import refuse_unseen_asset
from api.models import Listing
from api.openapi import BODY_ERRORS, answers, one_of, request_body
from api.query import Page, PerPage
from api.services import ServicesDep
from api.story import Story
from executions.errors import BadRequest, Detail, NotFound
from executions.requests import RerunRequest, RunRequest
from executions.rerunning import FROM_FAILED
from executions.truth import Cancel, Truth
from playbooks.record import Json
from playbooks.states import State
from storage import artifacts, playbooks
from storage.artifacts import ArtifactRow

router = APIRouter(tags=["executions"])

READ = ("playbook:read", "playbook:execute")
EXECUTIONS = "/api/playbooks/executions"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="The same key with the same body returns the execution that the first request began; with another "
        "body it is refused with 422 `idempotency_mismatch`. Keys belong to the token that used them, and are kept "
        "for a week.",
    ),
]
Include = Annotated[
    str | None,
    Query(
        pattern=r"^(io|iterations|artifacts)(,(io|iterations|artifacts)){0,2}$",
        description="`io` adds to each step what it was given and what it answered, secrets masked; `iterations` adds "
        "to each loop the record of each iteration; `artifacts` adds the files that the steps have made; several with "
        "a comma between them.",
    ),
]


@router.post(
    "/api/playbooks/{playbook_id}/run",
    name="execution.run",
    status_code=202,
    response_model=ExecutionAnswer,
    responses=answers(404, 409, 422, *BODY_ERRORS),
    openapi_extra=request_body(RunBody),
    dependencies=[guard("playbook:execute")],
)
async def run_playbook(
    request: Request,
    services: ServicesDep,
    principal: CurrentPrincipal,
    playbook_id: PlaybookId,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run a playbook against an asset.

    One playbook runs on one asset once at a time; a second run is refused with 409, which names the first. Where that
    has ended and its workflow is yet to close, the request waits for it, two seconds at most. 202 says that Temporal
    has the run: from then on nothing loses it. With 503 nothing was started; where Temporal took the run and could not
    say so, it is cancelled. A request with an Idempotency-Key that was answered 503, or not at all, is best repeated
    within the hour: it then finds the run that Temporal took, or starts it, and it is one run either way.
    """
    body = await read_json(request, RunBody)
    await refuse_unseen_asset(services, principal, body.target_asset_id)
    asked = RunRequest(
        target_asset_id=body.target_asset_id,
        parameters=body.parameters,
        dry_run=body.dry_run,
        dry_run_reads=body.dry_run_reads,
        idempotency_key=idempotency_key,
        principal_id=principal.id,
    )
    entry = services.journal.entry(request, "execution.run", "execution", None, outcome="requested")
    truth = await services.executions.starter.start(playbook_id, asked, entry)
    return execution_answer(
        services.executions, truth, status=202, headers={"Location": f"{EXECUTIONS}/{truth.row.id}"}
    )


@router.get(
    EXECUTIONS,
    name="execution.list",
    response_model=Listing[ExecutionSummaryAnswer],
    responses=answers(),
    dependencies=[guard(*READ)],
)
async def list_executions(
    services: ServicesDep,
    principal: CurrentPrincipal,
    playbook_id: Annotated[str | None, Query(max_length=80, description="Id or slug of the playbook.")] = None,
    target_asset_id: Annotated[str | None, Query(max_length=80)] = None,
    status: Annotated[State | None, Query()] = None,
    dry_run: Annotated[bool | None, Query()] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Response:
    """List executions, newest first. The steps stand in the execution itself."""
    if playbook_id is not None:
        playbook = await services.database.read(playbooks.get, playbook_id)
        playbook_id = playbook.id if playbook else playbook_id
    wanted = Filter(
        playbook_id=playbook_id, asset_id=target_asset_id, state=status, dry_run=dry_run, limits=principal.limits
    )
    return await _page(services.executions, wanted, page, per_page)


@router.get(
    "/api/playbooks/{playbook_id}/executions",
    name="playbook.executions",
    response_model=Listing[ExecutionSummaryAnswer],
    responses=answers(404),
    dependencies=[guard(*READ)],
)
async def list_playbook_executions(
    services: ServicesDep,
    principal: CurrentPrincipal,
    playbook_id: PlaybookId,
    target_asset_id: Annotated[str | None, Query(max_length=80)] = None,
    status: Annotated[State | None, Query()] = None,
    dry_run: Annotated[bool | None, Query()] = None,
    page: Page = 1,
    per_page: PerPage = 20,
) -> Response:
    """List the executions of one playbook, newest first; those of a deleted playbook too, by its id."""
    playbook = await services.database.read(playbooks.get, playbook_id, include_deleted=True)
    if playbook is None:
        raise NotFound(f"There is no playbook {playbook_id!r}.")
    wanted = Filter(
        playbook_id=playbook.id, asset_id=target_asset_id, state=status, dry_run=dry_run, limits=principal.limits
    )
    return await _page(services.executions, wanted, page, per_page)


@router.get(
    EXECUTIONS + "/{execution_id}",
    name="execution.read",
    response_model=ExecutionAnswer,
    responses=answers(404),
    dependencies=[guard(*READ)],
)
async def read_execution(services: ServicesDep, execution_id: ExecutionId, include: Include = None) -> Response:
    """Read an execution with the state of every step.

    It can be read with every worker down, and after Temporal has dropped its history. A final state never changes.
    """
    service = services.executions
    if include is None and (known := service.closed.get(execution_id)) is not None:
        return Response(known, media_type="application/json")
    truth = await service.read(execution_id)
    wanted = (include or "").split(",")
    io = await _io(service, truth) if "io" in wanted else None
    iterations = await _iterations(service, truth) if "iterations" in wanted else None
    made = await services.database.read(artifacts.list_artifacts, execution_id) if "artifacts" in wanted else None
    make = partial(execution_answer, service, truth, io=io, iterations=iterations, made=made)
    # Inputs and outputs can have megabytes, which nobody else shall wait for.
    answer = make() if io is None and iterations is None else await asyncio.to_thread(make)
    if include is None and truth.row.closed_at is not None:
        service.closed.put(execution_id, bytes(answer.body))
    return answer


@router.post(
    EXECUTIONS + "/{execution_id}/rerun",
    name="execution.rerun",
    status_code=202,
    response_model=ExecutionAnswer,
    responses=answers(404, 409, 422, *BODY_ERRORS),
    openapi_extra=request_body(RerunBody, required=False),
    dependencies=[guard("playbook:execute")],
)
async def rerun_execution(
    request: Request,
    services: ServicesDep,
    principal: CurrentPrincipal,
    execution_id: ExecutionId,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run an execution that has ended again, with the same input and the same revision of its playbook.

    With `{"from": "failed"}` the results of completed steps are kept and marked as `kept`: they are not run again. 409
    while the execution has not ended, and while the playbook runs on the asset.
    """
    body = await read_optional_json(request, RerunBody)
    origin = FROM_FAILED if body and body.from_ == FROM_FAILED else None
    asked = RerunRequest(execution_id, origin, idempotency_key, principal.id)
    row = await services.executions.row(execution_id)
    entry = services.journal.entry(request, "execution.rerun", "execution", None, outcome="requested")
    truth = await services.executions.starter.rerun(row, asked, entry)
    location = f"{EXECUTIONS}/{truth.row.id}"
    return execution_answer(services.executions, truth, status=202, headers={"Location": location})


@router.post(
    EXECUTIONS + "/{execution_id}/cancel",
    name="execution.cancel",
    response_model=ExecutionAnswer,
    responses=answers(404, 409, *BODY_ERRORS),
    openapi_extra=request_body(CancelBody, required=False),
    dependencies=[guard("playbook:execute")],
)
async def cancel_execution(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, execution_id: ExecutionId
) -> Response:
    """Cancel an execution: steps that have completed stay so, the one at work is told to stop, nothing is undone.

    An execution that is cancelled already is returned as it is; one that has completed or failed answers 409
    `not_running`.
    """
    body = await read_optional_json(request, CancelBody)
    row = await services.executions.row(execution_id)
    reason = body.reason if body else None
    details: dict[str, Json] = {"reason": reason}
    entry = services.journal.entry(request, "execution.cancel", "execution", row.id, details, outcome="requested")
    truth = await services.executions.canceller.cancel(row, Cancel(principal.name, reason), entry)
    return execution_answer(services.executions, truth)


@router.get(
    EXECUTIONS + "/{execution_id}/events",
    name="execution.events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "`event: execution` with the whole execution, first and whenever its own state changes; "
            "`event: step` with `{execution_id, status, step}` for every change of a step. The stream ends after the "
            "final state, or after an hour. A client that comes back with `Last-Event-ID` gets what has changed since.",
            "content": {"text/event-stream": {"schema": one_of(ExecutionAnswer, StepEvent)}},
        },
        **answers(404),
    },
    dependencies=[guard(*READ)],
)
async def stream_events(
    services: ServicesDep,
    execution_id: ExecutionId,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=100_000)] = None,
) -> Response:
    """Listen to an execution: Server-Sent Events, one for every change."""
    truth = await services.executions.read(execution_id)
    story = Story(services.executions.ui_url)
    if last_event_id:
        story.resume(last_event_id, len(truth.revision.steps))
    return StreamingResponse(
        _stream(services.executions, truth, story),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.get(
    EXECUTIONS + "/{execution_id}/compare/{other}",
    name="execution.compare",
    response_model=ComparisonAnswer,
    responses=answers(404),
    dependencies=[guard(*READ)],
)
async def compare_executions(services: ServicesDep, execution_id: ExecutionId, other: ExecutionId) -> Response:
    """Compare two executions of one playbook step by step; for a rehearsal against the run that followed it."""
    left, right = await services.executions.read(execution_id), await services.executions.read(other)
    if left.row.playbook_id != right.row.playbook_id:
        raise BadRequest(
            "Only executions of the same playbook can be compared.", [Detail("/other", "of another playbook")]
        )
    left_io = await services.executions.io(left) or {}
    right_io = await services.executions.io(right) or {}
    return await asyncio.to_thread(lambda: _json(comparison(left, left_io, right, right_io)))


async def _stream(service: Executions, first: Truth, story: Story) -> AsyncIterator[bytes]:
    async def read() -> Truth:
        return await service.read(first.row.id)

    async for heard in service.watches.listen(first, read):
        if heard is None:
            yield b": still here\n\n"
            continue
        async for piece in story.pieces(heard.truth, heard.chapter):
            yield piece


async def _io(service: Executions, truth: Truth) -> dict[str, Json]:
    found = await service.io(truth)
    return {"": None} if found is None else found


async def _iterations(service: Executions, truth: Truth) -> dict[str, Json]:
    found = await service.iterations(truth)
    return {"": None} if found is None else found


async def _page(service: Executions, wanted: Filter, page: int, per_page: int) -> Response:
    found, total = await service.page(wanted, page, per_page)
    data = [_summary(entry) for entry in found]
    return _json({"data": data, "meta": {"total": total, "page": page, "per_page": per_page}})


def _summary(entry: Listed) -> dict[str, Json]:
    return summary_json(entry.row, entry.state, entry.started_at, entry.finished_at)


def execution_answer(
    service: Executions,
    truth: Truth,
    *,
    io: dict[str, Json] | None = None,
    iterations: dict[str, Json] | None = None,
    made: list[ArtifactRow] | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> Response:
    """An execution as an answer."""
    answer = execution_json(truth, service.ui_url, io, iterations)
    if io is not None:
        answer["io_available"] = "" not in io
    if iterations is not None:
        answer["iterations_available"] = "" not in iterations
    if made is not None:
        answer["artifacts"] = [artifact_json(row) for row in made]
    return _json(answer, status, headers)


def _json(value: Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    return Response(content, status, headers, media_type="application/json")
