"""docs/reference/api.md from the OpenAPI document."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from api.app import create_app
from scripts.reference import MADE, cell
from scripts.reference.schemas import Schema, table, type_of
from settings import Settings

EVERYWHERE = ("400", "401", "403", "429", "500", "503")
HEAD = f"""\
# The HTTP interface

{MADE.format(source="the OpenAPI document")} A running API serves that document at `/openapi.json`, and a page to read
and to try it at `/docs`.
"""


def document() -> Mapping[str, Any]:
    """The OpenAPI document."""
    with tempfile.TemporaryDirectory() as folder:
        found: Mapping[str, Any] = create_app(Settings(data_dir=Path(folder))).openapi()
        return found


def page() -> str:
    """The whole page."""
    found = document()
    schemas: Mapping[str, Schema] = found["components"]["schemas"]
    groups: dict[str, list[str]] = {}
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(method.upper(), path, operation))
    parts = [HEAD, found["info"]["description"].strip() + "\n", _everywhere(found), ""]
    for name, operations in groups.items():
        parts += [f"## {name[0].upper()}{name[1:]}\n", *operations]
    parts += ["## Objects\n", *_objects(schemas)]
    return "\n".join(parts)


def _everywhere(found: Mapping[str, Any]) -> str:
    responses = found["paths"]["/api/playbooks"]["get"]["responses"]
    rows = "".join(f"| {code} | {cell(responses[code]['description'])} |\n" for code in EVERYWHERE)
    return f"What every route below `/api` may answer:\n\n| status | |\n| --- | --- |\n{rows}"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### `{method} {path}`\n", operation.get("description", operation["summary"]).strip() + "\n"]
    if body := operation.get("requestBody"):
        kinds = [f"{_type(one['schema'])} as `{kind}`" for kind, one in body["content"].items()]
        parts.append(f"Body{'' if body.get('required') else ', which may be left out'}: {'; or '.join(kinds)}.\n")
    if parameters := operation.get("parameters"):
        properties = {one["name"]: {**one["schema"], "description": one.get("description", "")} for one in parameters}
        required = [one["name"] for one in parameters if one.get("required")]
        parts.append(table({"properties": properties, "required": required}, _link))
    rows = "".join(_response(code, one) for code, one in operation["responses"].items() if code not in EVERYWHERE)
    parts.append(f"| status | answer |\n| --- | --- |\n{rows}" if rows else "")
    return "\n".join(parts)


def _response(code: str, response: Mapping[str, Any]) -> str:
    content = response.get("content", {})
    kinds = [_type(one["schema"]) for one in content.values() if one.get("schema")]
    told = "" if response["description"] == "Successful Response" else response["description"]
    what = " or ".join(dict.fromkeys(kind for kind in kinds if kind != "anything"))
    if code[0] in "45":
        what = ""
    return f"| {code} | {cell('. '.join(filter(None, [what, told])) or 'Done.')} |\n"


def _objects(schemas: Mapping[str, Schema]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        if name.endswith("Definition"):
            continue
        described = schema.get("description", "")
        yield f"(object-{name.lower()})=\n\n### {name}\n"
        if described:
            yield cell(described) + "\n"
        yield table(schema, _link) if "properties" in schema else f"{type_of(schema, _link)}\n".capitalize()


def _type(schema: Schema) -> str:
    return type_of(schema, _link)


def _link(name: str) -> str:
    if name.endswith("Definition"):
        return "[a playbook](format.md)"
    return f"[{re.sub(r'_+', ' ', name)}](#object-{name.lower()})"
