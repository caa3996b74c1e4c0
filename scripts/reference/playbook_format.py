"""docs/reference/format.md from the JSON Schema of a playbook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbooks.check import ASSET_FIELDS, ENDED_FIELDS, EXECUTION_FIELDS, SCOPE, STEP_FIELDS
from playbooks.definition import playbook_schema
from playbooks.functions import FUNCTIONS
from playbooks.step_definitions import STEP_TYPES, StepDefinition
from scripts.reference import MADE, cell
from scripts.reference.schemas import Schema, table

HEAD = f"""\
# The format of a playbook

{MADE.format(source="the JSON Schema of the format")} A running API serves the schema at `/api/schemas/playbook.json`,
for editors that complete and check.

A playbook is one YAML or JSON document. Unknown fields are refused. Every fault is told when it is stored, all at once,
each with its line and column.
"""
SHARED = tuple(StepDefinition.model_fields)
TITLES = {"Trigger": "The trigger", "RetryDefinition": "Retries"}


def page() -> str:
    """The whole page."""
    schema: Mapping[str, Any] = playbook_schema()
    parts: Mapping[str, Schema] = schema["$defs"]
    sections = [HEAD, "## The playbook\n", table(schema, _link)]
    sections += ["(part-trigger)=\n\n## The trigger\n", cell(parts["Trigger"]["description"]) + "\n"]
    sections.append(table(parts["Trigger"], _link))
    sections += ["(part-step)=\n\n## Steps\n", "What a step of every type may say:\n", _shared(parts["action"])]
    for name in STEP_TYPES:
        sections += [f"### `type: {name}`\n", _described(parts[name]), _own(parts[name])]
    sections += ["(part-retrydefinition)=\n\n### Retries\n", cell(parts["RetryDefinition"]["description"]) + "\n"]
    sections += [table(parts["RetryDefinition"], _link), _expressions()]
    return "\n".join(sections)


def _shared(schema: Schema) -> str:
    return table({**schema, "properties": {name: schema["properties"][name] for name in SHARED}}, _link)


def _own(schema: Schema) -> str:
    own = {name: field for name, field in schema["properties"].items() if name not in (*SHARED, "type")}
    return table({**schema, "properties": own}, _link)


def _described(schema: Schema) -> str:
    return cell(schema["description"]) + "\n"


def _expressions() -> str:
    words = {"parameters": "the parameters of the run", "vars": "variables that `set` steps have set"}
    words |= {
        "asset": f"what the run works on: {_names(ASSET_FIELDS)}",
        "execution": f"the run: {_names(EXECUTION_FIELDS)}; in `always` also "
        + _names(tuple(name for name in ENDED_FIELDS if name not in EXECUTION_FIELDS)),
        "steps": f"an earlier step, `steps.<id>` or `steps['<id>']`: {_names(STEP_FIELDS)}",
        "item": "in a `foreach`, the item",
        "index": "in a loop, the number of the iteration, from 0",
        "finding": "in playbooks of S4E, the finding that the run was started with, where there is one",
        "container": "in a run of the Phantom interface, the container",
        "artifacts": "in a run of the Phantom interface, the container's artifacts",
    }
    rows = "".join(f"| `{name}` | {words[name]} |\n" for name in SCOPE)
    functions = sorted(name for name in FUNCTIONS if name[0].isalpha())
    return (
        "## Expressions\n\nExpressions are [CEL](https://cel.dev). `when`, `expression` and `items` are expressions; "
        "`{{ … }}` in a string is a template. A string that is one whole template keeps the type of its value.\n\n"
        f"| name | what it is |\n| --- | --- |\n{rows}"
        "| `secrets` | `secrets.<name>`, only in templates in the `parameters` of an action |\n\n"
        f"Functions: {_names(tuple(functions))}, and CEL's `has`, `all`, `exists`, `exists_one`, `map`, `filter`.\n"
    )


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _link(name: str) -> str:
    target = "step" if name in (*STEP_TYPES, "Step") else name.lower()
    return f"[{'a step' if target == 'step' else TITLES[name].lower()}](#part-{target})"
