"""docs/reference/errors.md from the classes of errors and the advice on codes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import api.errors as of_http
import executions.errors as of_runs
from activities.catalogue import BUILT_IN
from activities.error_advice import CONNECTION_ERRORS, RUNNER_ERRORS
from executions.errors import Refusal
from playbooks.error_codes import ENGINE_ERRORS
from scripts.reference import MADE, cell

HEAD = f"""\
# Codes of errors

{MADE.format(source="`executions/errors.py`, `api/errors.py`, `playbooks/error_codes.py` and the actions")}

Codes are stable, and are what programs look at; the sentence beside them is for people and may change.

## Answers of the interface

Every refused request is answered in one shape; `details` name each place, as a JSON Pointer, and in YAML with line and
column.

```json
{{"status": "error", "error": {{"code": "not_found", "message": "There is no such playbook.", "details": []}}}}
```

| status | code | when |
| --- | --- | --- |
"""


def refusals() -> list[type[Refusal]]:
    """Every error that the interface answers with, by status."""
    found = {
        kind
        for module in (of_runs, of_http)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Refusal)
    }
    return sorted(found, key=lambda kind: (kind.status, kind.code, kind.__name__))


def page() -> str:
    """The whole page."""
    answered = "".join(
        f"| {kind.status} | `{kind.code}` | {cell(inspect.getdoc(kind) or '')} |\n" for kind in refusals()
    )
    return HEAD + answered + "\n" + "\n".join(_sections())


def _sections() -> Iterator[str]:
    yield "## Steps and runs: the engine\n"
    yield _table(dict(sorted(ENGINE_ERRORS.items())))
    yield "## Steps: every action\n"
    yield _table(dict(RUNNER_ERRORS))
    yield "## Steps: whatever opens a connection\n"
    yield _table(dict(CONNECTION_ERRORS))
    yield "## Steps: codes of single actions\n"
    yield "| code | actions |\n| --- | --- |\n" + "".join(
        f"| `{code}` | {', '.join(f'[`{name}`](../actions/{name}.md)' for name in names)} |\n"
        for code, names in sorted(_of_actions().items())
    )


def _table(codes: dict[str, str]) -> str:
    rows = "".join(f"| `{code}` | {cell(words)} |\n" for code, words in codes.items())
    return f"| code | what it means, and what to do |\n| --- | --- |\n{rows}"


def _of_actions() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for action in sorted(BUILT_IN, key=lambda one: one.name):
        for code in action.errors:
            if code not in CONNECTION_ERRORS and code not in RUNNER_ERRORS:
                found.setdefault(code, []).append(action.name)
    return found
