"""The OpenAPI document: what FastAPI finds in the routes, and what holds for all of them.

Bodies are read by ``api.body`` and not by FastAPI, so the routes name their models with ``request_body``; errors
have one shape, so the routes name only their codes with ``answers``.
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.errors import error_codes
from api.models import ANY_VALUE, JSON_VALUE, ErrorAnswer, any_value_schema, json_value_schema
from api.openapi_names import definition_part, rename_schemas
from playbooks.definition import playbook_schema
from playbooks.record import Json

REF: Final = "#/components/schemas/{model}"

MEANINGS: Final = {
    400: "The request cannot be read, or the definition has faults: every one is listed.",
    401: "No token, or one that is malformed, unknown, revoked or expired.",
    403: "The token lacks the permission that the answer names.",
    404: "Not found.",
    405: "Another method is allowed here; see Allow.",
    409: "The state of things forbids it.",
    413: "The body is too large.",
    415: "The body has a type that this route does not read.",
    422: "The parameters violate the playbook's schema, or the Idempotency-Key was used with another body.",
    429: "Too many requests; see Retry-After.",
    500: "Something went wrong inside.",
    503: "The database or Temporal cannot be reached, or too many starts wait; the message says what was done. See "
    "Retry-After.",
}
EVERYWHERE: Final = (400, 401, 403, 429, 500, 503)
"""Codes that any ``/api`` route can answer with."""

ANYTHING: Final[dict[str, Json]] = {"anyOf": [{"$ref": REF.format(model=JSON_VALUE)}]}
_KINDS: Final = frozenset({"type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"})
"""What says of a schema what it takes; where none of them is, generated clients know nothing."""

PLAYBOOK: Final = "PlaybookDefinition"

_body_models: dict[str, type[BaseModel]] = {}
_answer_models: dict[str, type[BaseModel]] = {}

DESCRIPTION: Final = """
Durable security playbooks on Temporal: rehearsed, conflict-free, cancellable, never lost.

* **Ids** are opaque strings. Wherever the id of a playbook is taken, its slug is too. Keep to ids in programs: a
  playbook that is renamed gets another slug.
* **Times** are RFC 3339, UTC, with a trailing `Z`.
* **Authentication**: `Authorization: Bearer <token>` or `X-API-Key: <token>`; both are allowed if they agree.
* **Errors** have one shape on every route, unknown ones included:
  `{"status": "error", "error": {"code", "message", "details": [{"path", "message"}]}}`; `path` is a JSON Pointer,
  under `/query/` for a query parameter. Checks come in this order: 401, 403, 400, 404, 422, 409.
* **Bodies** are JSON in UTF-8, at most 1 MiB unless set otherwise; unknown fields, duplicate keys and numbers that
  JSON does not know are refused. A playbook may also be sent as YAML.
* **Query parameters** that a route does not know are refused with 400, so that a misspelt filter never lists
  everything.
* **Lists** have pages, counted from 1, of 20 entries unless `per_page` says otherwise (at most 100).
* **Rate limit**, where one is set: `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds
  since the epoch) stand on every answer; 429 has `Retry-After` in seconds.
* Every answer carries `X-Request-ID`: the caller's, or a new one, which the log has too.
"""


def request_body(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """``openapi_extra`` of a route whose body is ``model``, in JSON."""
    _body_models[model.__name__] = model
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


def one_of(*models: type[BaseModel]) -> dict[str, Json]:
    """The schema of what is one of ``models``, which no route needs to name elsewhere."""
    _answer_models.update({model.__name__: model for model in models})
    return {"oneOf": [{"$ref": REF.format(model=model.__name__)} for model in models]}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route: the error codes that it can answer with beside those of every route."""
    return {code: {"model": ErrorAnswer, "description": MEANINGS[code]} for code in sorted({*EVERYWHERE, *codes})}


BODY_ERRORS: Final = (413, 415)
"""For ``answers``: what a route that reads a body answers with."""


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """The document of ``app``, made once."""
    document: dict[str, Any] = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    _, bodies = models_json_schema([(model, "validation") for model in _body_models.values()], ref_template=REF)
    schemas.update(bodies.get("$defs", {}))
    _, told = models_json_schema([(model, "serialization") for model in _answer_models.values()], ref_template=REF)
    schemas.update({name: schema for name, schema in told.get("$defs", {}).items() if name not in schemas})
    schemas["ErrorBody"]["properties"]["code"]["enum"] = error_codes()
    schemas.update(_definition_schemas())
    schemas[JSON_VALUE] = json_value_schema()
    schemas[ANY_VALUE] = any_value_schema()
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A token of this service."},
        "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same token."},
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _complete(path, operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return rename_schemas(document)


def _definition_schemas() -> dict[str, Json]:
    """The schema of a playbook, with what it refers to put beside it."""
    schema = dict(playbook_schema(nested=False))
    schema.pop("$schema", None)
    schema.pop("$id", None)
    parts = schema.pop("$defs", {})
    return {PLAYBOOK: _moved(schema), **{definition_part(name): _moved(part) for name, part in parts.items()}}


def _filled(schema: dict[str, Json]) -> dict[str, Json]:
    """``schema`` saying of what it holds that it may be anything, where it says nothing."""
    if schema.get("type") == "array" and not schema.get("items"):
        return {**schema, "items": ANYTHING}
    open_ended = schema.get("additionalProperties", True) is True
    if schema.get("type") == "object" and open_ended and "properties" not in schema:
        return {**schema, "additionalProperties": ANYTHING}
    return schema


def _moved(schema: Json) -> Json:
    """``schema`` with its references pointed to where its parts stand now."""
    if isinstance(schema, list):
        return [_moved(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: _moved(part) for name, part in schema.items()}
    kinds = moved.get("type")
    if isinstance(kinds, list):
        del moved["type"]
        moved["anyOf"] = [_filled({"type": kind}) for kind in kinds]
    moved = _filled(moved)
    if isinstance(properties := moved.get("properties"), dict):
        moved["properties"] = {
            name: part if _KINDS & set(part) else part | ANYTHING for name, part in properties.items()
        }
    reference = moved.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        moved["$ref"] = REF.format(model=definition_part(reference.removeprefix("#/$defs/")))
    if isinstance(moved.get("discriminator"), dict):
        mapping = moved["discriminator"].get("mapping", {})
        moved["discriminator"] = {
            **moved["discriminator"],
            "mapping": {
                value: REF.format(model=definition_part(place.removeprefix("#/$defs/")))
                for value, place in mapping.items()
            },
        }
    return moved


def _complete(path: str, operation: dict[str, Json]) -> None:
    responses = operation["responses"]
    found = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if found.get("$ref", "").endswith("HTTPValidationError"):
        # FastAPI adds it to every route with parameters; here those are 400.
        del responses["422"]
    if path.startswith("/api/") and "security" not in operation:
        operation["security"] = [{"bearer": []}, {"key": []}]
