"""Steps that wait for approval: approve and reject."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api.auth import CurrentPrincipal, guard
from api.body import read_optional_json
from api.execution_models import DecisionBody, ExecutionAnswer, ExecutionId
from api.limits import address_of
from api.openapi import BODY_ERRORS, answers, request_body
from api.routes.executions import EXECUTIONS, execution_answer
from api.services import Services, ServicesDep
from api.tokens import Principal
from playbooks.contract import Decide

router = APIRouter(tags=["executions"])

STEP = EXECUTIONS + "/{execution_id}/steps/{action_id}"

ActionId = Annotated[
    str,
    Path(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}(\.[0-9]{1,9}){0,20}$",
        description="Id of the step; of one in a loop, with the number of its iteration: `ask.3`.",
    ),
]


@router.post(
    STEP + "/approve",
    name="execution.approve",
    response_model=ExecutionAnswer,
    responses=answers(404, 409, *BODY_ERRORS),
    openapi_extra=request_body(DecisionBody, required=False),
    dependencies=[guard("playbook:execute")],
)
async def approve_step(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, execution_id: ExecutionId, action_id: ActionId
) -> Response:
    """Approve a step that waits for it; the run goes on.

    Where the step names `approvers`, the token must be one of them by its name or by a permission; else 403. 409
    `not_waiting` when the step waits for nothing, or was decided before. 503 when no worker takes the decision.
    """
    return await _decide(request, services, principal, execution_id, action_id, approve=True)


@router.post(
    STEP + "/reject",
    name="execution.reject",
    response_model=ExecutionAnswer,
    responses=answers(404, 409, *BODY_ERRORS),
    openapi_extra=request_body(DecisionBody, required=False),
    dependencies=[guard("playbook:execute")],
)
async def reject_step(
    request: Request, services: ServicesDep, principal: CurrentPrincipal, execution_id: ExecutionId, action_id: ActionId
) -> Response:
    """Reject a step that waits for approval: it fails with the code `rejected`. Answers as `approve` does."""
    return await _decide(request, services, principal, execution_id, action_id, approve=False)


async def _decide(
    request: Request, services: Services, principal: Principal, execution_id: str, action_id: str, *, approve: bool
) -> Response:
    body = await read_optional_json(request, DecisionBody)
    decision = Decide(
        approve=approve,
        step=action_id,
        comment=body.comment if body else None,
        by=principal.name,
        by_id=principal.id,
        permissions=sorted(principal.permissions),
        address=address_of(request.scope),
    )
    truth = await services.executions.decider.decide(await services.executions.row(execution_id), decision)
    return execution_answer(services.executions, truth)
