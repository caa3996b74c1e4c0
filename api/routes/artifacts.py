"""Artifacts of executions: what their steps have made, to be listed and downloaded."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from api.artifact_json import artifact_json
from api.auth import guard
from api.execution_models import ArtifactAnswer, ExecutionId
from api.models import Listing, Meta
from api.openapi import answers
from api.query import Page, PerPage
from api.routes.executions import EXECUTIONS, READ
from api.services import ServicesDep
from executions.errors import NotFound
from storage import artifacts

router = APIRouter(tags=["executions"])

ARTIFACTS = EXECUTIONS + "/{execution_id}/artifacts"

ArtifactName = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name of the artifact.")]

# What a step has made holds what others have sent: a browser must neither run it nor take it for a page of this site.
HARMLESS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"


@router.get(ARTIFACTS, name="execution.artifacts", responses=answers(404), dependencies=[guard(*READ)])
async def list_artifacts(
    services: ServicesDep, execution_id: ExecutionId, page: Page = 1, per_page: PerPage = 20
) -> Listing[ArtifactAnswer]:
    """List the artifacts of an execution, oldest first; while it runs, those that are there by now."""
    await services.executions.row(execution_id)
    rows = await services.database.read(artifacts.list_artifacts, execution_id)
    shown = rows[(page - 1) * per_page : page * per_page]
    return Listing(
        data=[ArtifactAnswer(**artifact_json(row)) for row in shown],
        meta=Meta(total=len(rows), page=page, per_page=per_page),
    )


@router.get(
    ARTIFACTS + "/{name}",
    name="execution.artifact",
    response_class=Response,
    responses={
        200: {
            "description": "The artifact as a download; `ETag` is its SHA-256.",
            "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
        },
        304: {"description": "The artifact is the one that `If-None-Match` names."},
        **answers(404),
    },
    dependencies=[guard(*READ)],
)
async def read_artifact(
    request: Request, services: ServicesDep, execution_id: ExecutionId, name: ArtifactName
) -> Response:
    """Download an artifact of an execution."""
    row = await services.database.read(artifacts.summary, execution_id, name)
    if row is None:
        await services.executions.row(execution_id)
        raise NotFound(f"The execution {execution_id} has no artifact {name}.")
    tag = f'"{row.sha256}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Content-Security-Policy": HARMLESS}
    if tag in _tags(request):
        return Response(status_code=304, headers=headers)
    found = await services.database.read(artifacts.get, execution_id, name)
    if found is None:
        raise NotFound(f"The execution {execution_id} has no artifact {name}.")
    row, data = found
    headers |= {"ETag": f'"{row.sha256}"', "Content-Disposition": f'attachment; filename="{row.name}"'}
    return Response(data, headers=headers, media_type=row.media_type)


def _tags(request: Request) -> set[str]:
    # RFC 9110, section 13.1.2: compared weakly.
    return {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
