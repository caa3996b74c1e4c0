"""Tokens that are limited by labels: what they do not see is answered as what does not exist, with 404.

With 403 a token could find out which playbooks, assets and executions there are.  The check stands in front of every
route, by the names of its path's parameters, so that a new route below a playbook, an asset or an execution has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import Connection
from starlette.requests import Request

from api.services import Services
from api.tokens import Principal
from executions.errors import NotFound
from storage.limits import Limits, sees_asset, sees_execution, sees_playbook

Sees = Callable[[Connection, Limits, str], bool]

CHECKS: Final[dict[str, tuple[str, Sees]]] = {
    "playbook_id": ("playbook", sees_playbook),
    "execution_id": ("execution", sees_execution),
    "other": ("execution", sees_execution),
    "asset_id": ("asset", sees_asset),
}
"""What a parameter of a path names, and whether it is seen."""

LIMITABLE: Final = frozenset({"playbook:read", "playbook:execute", "asset:read"})
"""What a limited token may be permitted: who can write definitions, assets or tokens could widen the limits."""


async def refuse_unseen(request: Request, services: Services, limits: Limits) -> None:
    """Raises NotFound when the path names something that the limits leave out, or that does not exist."""
    for name, value in request.path_params.items():
        if name in CHECKS:
            await _refuse(services, limits, *CHECKS[name], str(value))


async def refuse_unseen_asset(services: Services, principal: Principal, asset_id: str) -> None:
    """Raises NotFound when a body names an asset that the limits of the token leave out."""
    if principal.limits is not None:
        await _refuse(services, principal.limits, "asset", sees_asset, asset_id)


async def _refuse(services: Services, limits: Limits, kind: str, sees: Sees, identity: str) -> None:
    if not await services.database.read(sees, limits, identity):
        raise NotFound(f"There is no {kind} {identity!r}.")
