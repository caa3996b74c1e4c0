"""The form from which a playbook is rehearsed and run."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import ASSETS, EXECUTIONS, PLAYBOOKS, Backend, Refused, path_of
from api.console.pages import nonce, page, redirect
from api.console.schema_fields import Builder, Field, Schema, starting_values
from api.console.schema_values import Reader, grown, shrunk
from api.console.sessions import Form, SignedIn
from api.execution_json import MASK
from playbooks.parameters import secret_names
from playbooks.record import Json

router = APIRouter(include_in_schema=False)

PARAMETERS = "/parameters"


@router.get("/playbooks/{playbook_id}/run", name="console.run")
async def run_page(request: Request, visitor: SignedIn, playbook_id: str) -> Response:
    """Show the form with the defaults, or with what an earlier execution was given."""
    backend = Backend(request, visitor)
    playbook = await backend.get(path_of(PLAYBOOKS, playbook_id))
    values = starting_values(playbook["parameters"], playbook["parameters"])
    asset = request.query_params.get("asset", "")
    if earlier := request.query_params.get("from"):
        execution = await backend.get(path_of(EXECUTIONS, earlier))
        values, asset = _given(playbook["parameters"], execution["parameters"]), execution["target_asset_id"]
    return await _form(backend, playbook, values, asset)


@router.post("/playbooks/{playbook_id}/run", name="console.run_start")
async def run(request: Request, visitor: SignedIn, playbook_id: str) -> Response:
    """Start the run and go to it; show what is wrong with its parameters at their fields; or change a list."""
    backend, form = Backend(request, visitor), visitor.form
    playbook = await backend.get(path_of(PLAYBOOKS, playbook_id))
    schema = playbook["parameters"]
    reader = Reader(schema, form)
    values, asset = reader.values(schema), form.get("asset")
    if form.get("add") or form.get("remove"):
        (grown if form.get("add") else shrunk)(values, form.get("add") or form.get("remove"))
        return await _form(backend, playbook, values, asset)
    if reader.faults:
        return await _form(backend, playbook, values, asset, status=422, errors=reader.faults)
    body = {
        "target_asset_id": asset,
        "parameters": values,
        "dry_run": form.get("mode") != "live",
        "dry_run_reads": form.get("reads") == "true",
    }
    try:
        path = path_of(PLAYBOOKS, playbook["id"], "run")
        started = await backend.post(path, body, {"Idempotency-Key": _key(form, body)})
    except Refused as refused:
        if refused.status not in (400, 404, 409, 422):
            raise
        return await _form(backend, playbook, values, asset, refused=refused, status=refused.status)
    return redirect(f"/executions/{started['execution_id']}")


def _key(form: Form, body: dict[str, Json]) -> str:
    """One key for one press of a button: pressed twice it starts one run, pressed for something else another."""
    text = json.dumps([form.get("key"), body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _given(schema: Schema, parameters: dict[str, Json]) -> dict[str, Json]:
    """The parameters of an earlier execution, without those that are secret and so are not known."""
    hidden = secret_names(schema)
    return {name: value for name, value in parameters.items() if name not in hidden and value != MASK}


async def _form(
    backend: Backend,
    playbook: Json,
    values: dict[str, Json],
    asset: str,
    *,
    status: int = 200,
    errors: dict[str, list[str]] | None = None,
    refused: Refused | None = None,
) -> Response:
    errors, general = (errors or {}, []) if refused is None else _placed(refused)
    fields = Builder(playbook["parameters"], errors).fields(playbook["parameters"], values)
    placed = set(_names(fields))
    general += [f"{path} {text}" for path, texts in errors.items() if path not in placed for text in texts]
    assets = await _assets(backend, "", asset)
    return page(
        backend.request,
        backend.visitor,
        "run.html",
        status=status,
        playbook=playbook,
        fields=fields,
        assets=assets["data"],
        more_assets=assets["meta"]["total"] > len(assets["data"]),
        asset=asset,
        asset_errors=errors.get("asset", []),
        general=general,
        faulty=status >= 400,
        refused=refused,
        key=backend.visitor.form.get("key") or nonce(),
    )


@router.get("/asset-options", name="console.asset_options")
async def asset_options(request: Request, visitor: SignedIn) -> Response:
    """The assets that a search in the run form finds, as options; the chosen one stays among them."""
    backend, asset = Backend(request, visitor), request.query_params.get("asset", "")
    found = await _assets(backend, request.query_params.get("asset_search", ""), asset)
    return page(request, visitor, "parts/asset_options.html", assets=found["data"], asset=asset)


async def _assets(backend: Backend, search: str, chosen: str) -> Any:
    """The first hundred assets that a search finds, and the chosen one before them."""
    if not backend.visitor.may("asset:read"):
        return {"data": [], "meta": {"total": 0}}
    found = await backend.get(ASSETS, search=search or None, per_page=100)
    if chosen and all(one["id"] != chosen for one in found["data"]):
        with contextlib.suppress(Refused):
            found["data"].insert(0, await backend.get(path_of(ASSETS, chosen)))
            found["meta"]["total"] += 1
    return found


def _placed(refused: Refused) -> tuple[dict[str, list[str]], list[str]]:
    """The faults by the field that they belong to, and those that belong to none."""
    errors: dict[str, list[str]] = {}
    general: list[str] = []
    for detail in refused.details:
        if detail.path.startswith(PARAMETERS + "/"):
            errors.setdefault(detail.path.removeprefix(PARAMETERS), []).append(detail.message)
        elif detail.path == "/target_asset_id":
            errors.setdefault("asset", []).append("choose an asset")
        else:
            general.append(detail.message)
    return errors, general


def _names(fields: list[Field]) -> list[str]:
    found = ["asset"]
    for field in fields:
        found += [field.name, *_names(list(field.children))]
    return found
