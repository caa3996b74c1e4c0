"""JSON Schemas, for editors that complete and check a playbook while it is written."""

from __future__ import annotations

from functools import lru_cache

from fastapi import APIRouter

from api.auth import guard
from api.models import AnyValue
from api.openapi import answers
from playbooks.definition import playbook_schema
from playbooks.record import Json

router = APIRouter(prefix="/api/schemas", tags=["schemas"], dependencies=[guard("playbook:read")])


@router.get("/playbook.json", name="schema.playbook", responses=answers())
async def read_playbook_schema() -> dict[str, AnyValue]:
    """Read the JSON Schema of a playbook's definition."""
    return _schema()


@lru_cache(maxsize=1)
def _schema() -> dict[str, Json]:
    return playbook_schema()
