"""Assets: the list, one of them with its history, and the form that writes one."""

from __future__ import annotations

import json
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.console.backend import ASSETS, EXECUTIONS, PLAYBOOKS, Backend, Refused, path_of
from api.console.names import READS_EXECUTIONS, names_of
from api.console.pages import page, redirect
from api.console.sessions import Form, SignedIn
from api.services import ServicesDep
from playbooks.faults import DefinitionError
from playbooks.load import load
from playbooks.record import Json

router = APIRouter(include_in_schema=False)

TEXTS: Final = ("name", "type", "hostname", "ip", "url")


@router.get("/assets", name="console.assets")
async def assets_page(request: Request, visitor: SignedIn) -> Response:
    """List the assets; search, type and tag stand in the address."""
    given = {name: value for name in ("search", "type", "tag") if (value := request.query_params.get(name))}
    number = request.query_params.get("page", "1")
    listed = await Backend(request, visitor).get(ASSETS, page=number, **given)
    return page(request, visitor, "assets.html", listed=listed, given=given)


@router.get("/new-asset", name="console.asset_new")
async def new_page(request: Request, visitor: SignedIn) -> Response:
    """Show an empty form."""
    return _form(request, visitor, None, {"type": "host", "tags": "", "attributes": ""})


@router.post("/new-asset", name="console.asset_create")
async def create(request: Request, visitor: SignedIn) -> Response:
    """Add an asset."""
    body, errors = _body(visitor.form)
    if errors:
        return _form(request, visitor, None, _typed(visitor.form), errors, status=400)
    try:
        asset = await Backend(request, visitor).post(ASSETS, body)
    except Refused as refused:
        return _refused(request, visitor, None, refused)
    return redirect(f"/assets/{asset['id']}")


@router.get("/assets/{asset_id}", name="console.asset")
async def asset_page(request: Request, services: ServicesDep, visitor: SignedIn, asset_id: str) -> Response:
    """Show an asset and what was run on it."""
    backend = Backend(request, visitor)
    asset = await backend.get(path_of(ASSETS, asset_id))
    listed: dict[str, Any] = {"data": [], "meta": {"total": 0, "page": 1, "per_page": 20}}
    if visitor.may(*READS_EXECUTIONS):
        number = request.query_params.get("page", "1")
        listed = await backend.get(EXECUTIONS, target_asset_id=asset_id, page=number)
    playbooks = []
    if visitor.may("playbook:execute") and visitor.may("playbook:read"):
        playbooks = (await backend.get(PLAYBOOKS, per_page=100))["data"]
    return page(
        request,
        visitor,
        "asset.html",
        asset=asset,
        listed=listed,
        names=await names_of(services, visitor, listed["data"]),
        playbooks=playbooks,
    )


@router.get("/run-on/{asset_id}", name="console.run_on")
async def run_on(request: Request, visitor: SignedIn, asset_id: str) -> Response:
    """Go to the run form of the chosen playbook, with this asset chosen."""
    chosen = request.query_params.get("playbook", "")
    path = path_of("/playbooks", chosen, "run") if chosen else "/playbooks"
    return redirect(path, asset=asset_id)


@router.get("/assets/{asset_id}/edit", name="console.asset_edit")
async def edit_page(request: Request, visitor: SignedIn, asset_id: str) -> Response:
    """Show the form, filled."""
    asset = await Backend(request, visitor).get(path_of(ASSETS, asset_id))
    values = {name: asset[name] or "" for name in TEXTS}
    values["tags"] = "\n".join(f"{name}={value}" for name, value in asset["tags"].items())
    values["attributes"] = json.dumps(asset["attributes"], indent=2, ensure_ascii=False) if asset["attributes"] else ""
    return _form(request, visitor, asset, values)


@router.post("/assets/{asset_id}/edit", name="console.asset_replace")
async def replace(request: Request, visitor: SignedIn, asset_id: str) -> Response:
    """Replace an asset."""
    backend = Backend(request, visitor)
    asset = await backend.get(path_of(ASSETS, asset_id))
    body, errors = _body(visitor.form)
    if errors:
        return _form(request, visitor, asset, _typed(visitor.form), errors, status=400)
    try:
        await backend.put(path_of(ASSETS, asset_id), body)
    except Refused as refused:
        return _refused(request, visitor, asset, refused)
    return redirect(f"/assets/{asset_id}")


@router.post("/assets/{asset_id}/delete", name="console.asset_delete")
async def delete(request: Request, visitor: SignedIn, asset_id: str) -> Response:
    """Delete an asset; its executions stay readable."""
    await Backend(request, visitor).delete(path_of(ASSETS, asset_id))
    return redirect("/assets")


def _body(form: Form) -> tuple[dict[str, Json], dict[str, list[str]]]:
    """The asset in the form, and what cannot be read of it, by field."""
    errors: dict[str, list[str]] = {}
    body: dict[str, Json] = {name: text for name in TEXTS if (text := form.get(name).strip())}
    tags: dict[str, Json] = {}
    for line in filter(None, map(str.strip, form.get("tags").splitlines())):
        name, _, value = line.partition("=")
        tags[name.strip()] = value.strip()
    body["tags"] = tags
    text = form.get("attributes").strip()
    if text:
        try:
            body["attributes"] = load(text.encode(), "json").value
        except DefinitionError as error:
            fault = error.faults[0]
            place = f" (line {fault.line}, column {fault.column})" if fault.line else ""
            errors["attributes"] = [f"this is not valid JSON: {fault.message}{place}"]
    return body, errors


def _typed(form: Form) -> dict[str, str]:
    return {name: form.get(name) for name in (*TEXTS, "tags", "attributes")}


def _refused(request: Request, visitor: SignedIn, asset: Json, refused: Refused) -> Response:
    """The form with what the interface has said at each field."""
    if refused.status not in (400, 409):
        raise refused
    errors: dict[str, list[str]] = {}
    for detail in refused.details:
        errors.setdefault(detail.path.split("/")[1] if "/" in detail.path else "", []).append(detail.message)
    return _form(request, visitor, asset, _typed(visitor.form), errors or {"": [refused.message]}, refused.status)


def _form(
    request: Request,
    visitor: SignedIn,
    asset: Json,
    values: dict[str, str],
    errors: dict[str, list[str]] | None = None,
    status: int = 200,
) -> Response:
    filled = {name: values.get(name, "") for name in (*TEXTS, "tags", "attributes")}
    return page(request, visitor, "asset_form.html", status=status, asset=asset, values=filled, errors=errors or {})
