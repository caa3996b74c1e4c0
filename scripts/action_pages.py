"""Writes docs/actions.md and docs/actions/ from the built-in actions: ``python scripts/action_pages.py``.

``python scripts/action_pages.py --check`` only compares, names what is out of date, and ends with 1 where something is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from activities.action import Action, AnyAction
from activities.catalogue import BUILT_IN
from activities.error_advice import CONNECTION_ERRORS, RUNNER_ERRORS
from playbooks.actions import Traits

DOCS = Path(__file__).parent.parent / "docs"
COMMAND = ".venv/bin/python scripts/action_pages.py"
MADE = "This page is made from the action itself by `scripts/action_pages.py`, and a test holds the two together."
SHARED = "../actions.md#codes-of-every-action"
Schema = Mapping[str, Any]

WORDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "object"}
LIMITS = {
    "minimum": "At least {}.",
    "exclusiveMinimum": "More than {}.",
    "maximum": "At most {}.",
    "exclusiveMaximum": "Less than {}.",
    "minLength": "At least {} characters.",
    "maxLength": "At most {} characters.",
    "minItems": "At least {} items.",
    "maxItems": "At most {} items.",
    "minProperties": "At least {} names.",
    "maxProperties": "At most {} names.",
    "pattern": "Pattern `{}`.",
}
SIZES = ("minLength", "minItems", "minProperties")


def pages() -> dict[Path, str]:
    """Every page by its path."""
    actions = sorted((kind() for kind in BUILT_IN), key=lambda action: action.name)
    made = {DOCS / "actions.md": index(actions)}
    for action in actions:
        made[DOCS / "actions" / f"{action.name}.md"] = page(action)
    return made


def index(actions: list[AnyAction]) -> str:
    """The page that lists all actions, with the codes that they share."""
    rows = "".join(f"| [`{one.name}`](actions/{one.name}.md) | {_first_sentence(one)} |\n" for one in actions)
    return (
        f"# Actions\n\nWhat a step can do. {MADE} To add one: [add-an-action.md](add-an-action.md).\n\n"
        f"| action | what it does |\n| --- | --- |\n{rows}"
        "\n## Codes of every action\n\nA failed step has a stable code, which expressions read as "
        "`steps.<id>.error.code`, and a sentence for an operator.\n\n"
        f"{_codes(RUNNER_ERRORS)}"
        f"\n## Codes of whatever opens a connection\n\n{_codes(CONNECTION_ERRORS)}"
    )


def page(action: AnyAction) -> str:
    """The page of one action."""
    return "\n".join(
        [
            f"# `{action.name}`: {action.title}\n",
            f"{_text(action.spec().description)}\n",
            f"{MADE}\n",
            f"```yaml\n{example(action)}```\n",
            "## What the engine may do with it\n",
            *_flags(action),
            "",
            f"## In a dry run\n\n{action.rehearsal}\n",
            f"## Input\n\n{_fields(action.Input.model_json_schema(mode='validation'), is_input=True)}",
            f"## Output\n\n{_fields(action.Output.model_json_schema(mode='serialization'), is_input=False)}",
            f"## Codes of its errors\n\n{_codes(action.errors)}",
            f"Beside these: [those of every action, and of whatever opens a connection]({SHARED}).",
            "",
        ]
    )


def example(action: AnyAction) -> str:
    """A step of a playbook with the action."""
    step = {"name": action.title, "action_ref": action.name, "parameters": dict(action.example)}
    return yaml.safe_dump([step], sort_keys=False, allow_unicode=True, width=100)


def _first_sentence(action: AnyAction) -> str:
    text = " ".join(action.spec().description.partition("\n\n")[0].split())
    return _cell(text)


def _flags(action: AnyAction) -> Iterator[str]:
    traits = action.traits({})
    if type(action).traits.__func__ is not Action.traits.__func__:
        yield "This depends on the parameters. As in the example:\n"
        traits = action.traits(dict(action.example))
    yield from _told(traits)


def _told(traits: Traits) -> Iterator[str]:
    if traits.safe:
        yield "- It only reads, so it runs for real in a dry run too, unless that says `dry_run_reads: false`."
    else:
        yield "- It changes something, or may be noticed: a dry run only rehearses it."
    if traits.idempotent:
        yield "- It may be repeated: when its worker dies, another one does it again."
    else:
        yield "- It is never repeated by itself: when its worker dies, the step fails as `outcome_unknown`."
    if traits.quick:
        yield "- It takes well under a second, and runs without a round trip through Temporal."


def _codes(errors: Mapping[str, str]) -> str:
    if not errors:
        return "None of its own.\n"
    rows = "".join(f"| `{code}` | {_cell(meaning)} |\n" for code, meaning in errors.items())
    return f"| code | what it means, and what to do |\n| --- | --- |\n{rows}"


def _fields(schema: Schema, is_input: bool) -> str:
    parts = [_table(schema, is_input)]
    for name, model in schema.get("$defs", {}).items():
        if "properties" in model:
            parts.append(f"### {name}\n\n{_text(model.get('description', ''))}\n\n{_table(model, is_input)}")
    return "\n".join(parts)


def _table(schema: Schema, is_input: bool) -> str:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    if not properties:
        return "Any names and values.\n" if schema.get("additionalProperties") else "Nothing.\n"
    required = set(schema.get("required", ()))
    lines = ["| name | type | default | what it is |\n| --- | --- | --- | --- |\n"]
    if not is_input:
        lines = ["| name | type | what it is |\n| --- | --- | --- |\n"]
    for name, field in properties.items():
        default = f"| {_default(name, field, required)} " if is_input else ""
        words = (
            [str(field.get("description", "")), *_limits(field)] if is_input else [str(field.get("description", ""))]
        )
        lines.append(f"| `{name}` | {_type(field)} {default}| {_cell(' '.join(filter(None, words)))} |\n")
    return "".join(lines)


def _default(name: str, field: Schema, required: set[str]) -> str:
    if name in required:
        return "**required**"
    if field.get("default") is None:
        return ""
    shown = yaml.safe_dump(field["default"], default_flow_style=True, width=1000).strip().removesuffix("...").strip()
    return f"`{_cell(shown if len(shown) <= 60 else shown[:59] + '…')}`"


def _type(field: Schema) -> str:
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if choices := field.get("anyOf") or field.get("oneOf"):
        names = dict.fromkeys(_type(one) for one in choices if one.get("type") != "null")
        return " or ".join(names) or "null"
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return WORDS.get(str(field.get("type")), "anything")


def _limits(field: Schema) -> Iterator[str]:
    for one in (field, *field.get("anyOf", ())):
        for key, words in LIMITS.items():
            if key in one:
                yield "Not empty." if one[key] == 1 and key in SIZES else words.format(one[key])


def _cell(text: str) -> str:
    return " ".join(_text(text).split()).replace("|", "\\|")


def _text(text: str) -> str:
    """A docstring as Markdown."""
    return text.replace("``", "`").replace(".  ", ". ")


def out_of_date() -> list[str]:
    """The pages that differ from what the actions say, are missing, or are of no action."""
    made = pages()
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    wrong += [path for path in sorted((DOCS / "actions").glob("*.md")) if path not in made]
    return [str(path.relative_to(DOCS.parent)) for path in wrong]


def main(arguments: list[str]) -> int:
    """Writes the pages, or compares them; the exit code is 1 where one differs."""
    if "--check" in arguments:
        wrong = out_of_date()
        if wrong:
            print(f"out of date: {', '.join(wrong)}; run: {COMMAND}", file=sys.stderr)
        return int(bool(wrong))
    made = pages()
    (DOCS / "actions").mkdir(parents=True, exist_ok=True)
    for path in (DOCS / "actions").glob("*.md"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
