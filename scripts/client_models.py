"""Writes stanchion_client/models.py from the OpenAPI document: ``python scripts/client_models.py``.

``--check`` only compares, and ends with 1 where the file is out of date.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.reference.interface import document

ROOT = Path(__file__).parent.parent
MODELS = ROOT / "stanchion_client" / "models.py"
COMMAND = ".venv/bin/python scripts/client_models.py"
HEAD = '''\
"""What the API answers, as types: each is the very document that came, a ``dict`` at run time.

A newer API may answer more fields than stand here.  Made from the OpenAPI document by ``scripts/client_models.py``, and
a test holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

'''
ANYTHING = ("AnyValue", "JsonValue")
PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = Mapping[str, Any]


def source() -> str:
    """The text of the module."""
    found = document()
    schemas: Mapping[str, Schema] = found["components"]["schemas"]
    body = "\n\n".join(_definition(name, schemas[name]) for name in sorted(answered(found)))
    formatted = subprocess.run(
        [Path(sys.executable).parent / "ruff", "format", "--stdin-filename", str(MODELS), "-"],
        input=HEAD + body,
        capture_output=True,
        text=True,
        check=True,
    )
    return formatted.stdout


def answered(found: Mapping[str, Any]) -> set[str]:
    """The schemas of what routes below ``/api`` answer with, and what these refer to; a page is a type of its own."""
    schemas = found["components"]["schemas"]
    waiting = [
        name
        for path, operations in found["paths"].items()
        if path.startswith(("/api/", "/readyz"))
        for operation in operations.values()
        for code, response in operation["responses"].items()
        if code.startswith("2")
        for name in _references(response)
    ]
    names: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in names and name not in ANYTHING:
            names.add(name)
            waiting += _references(schemas[name])
    return {name for name in names if "meta" not in schemas[name].get("properties", {})}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            if key == "$ref":
                yield str(part).rpartition("/")[2]
            else:
                yield from _references(part)
    elif isinstance(value, list):
        for part in value:
            yield from _references(part)


def _definition(name: str, schema: Schema) -> str:
    if "properties" not in schema:
        return f"{name} = {_type(schema)}\n{_text(schema.get('description', ''), '')}"
    required = schema.get("required", [])
    lines = [f"class {name}(TypedDict):", _text(schema.get("description", f"See {name}."), "    "), ""]
    for field, part in schema["properties"].items():
        kind = _type(part)
        lines.append(f"    {field}: {kind if field in required else f'NotRequired[{kind}]'}")
        if told := part.get("description"):
            lines.append(_text(told, "    "))
    return "\n".join(lines)


def _text(text: str, indent: str) -> str:
    if not text:
        return ""
    words = " ".join(text.replace("``", "`").split())
    return textwrap.indent(textwrap.fill(f'"""{words}"""', 116, break_long_words=False), indent)


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return "Any" if name in ANYTHING else name
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = list(dict.fromkeys(_type(part) for part in schema[key]))
            return "Any" if "Any" in kinds else " | ".join(kinds)
    match schema.get("type"):
        case "array":
            return f"list[{_type(schema.get('items', {}))}]"
        case "object":
            inner = schema.get("additionalProperties")
            return f"dict[str, {_type(inner) if isinstance(inner, dict) else 'Any'}]"
        case None:
            return "Any"
        case kind:
            return PLAIN[kind]


def main(arguments: list[str]) -> int:
    """Writes the module, or compares it; the exit code is 1 where it differs."""
    text = source()
    if "--check" not in arguments:
        MODELS.write_text(text, encoding="utf-8")
        return 0
    if MODELS.read_text(encoding="utf-8") == text:
        return 0
    print(f"out of date: {MODELS.relative_to(ROOT)}; run: {COMMAND}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
