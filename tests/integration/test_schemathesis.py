"""The interface keeps what its OpenAPI document promises, whatever is sent.

Schemathesis reads the served document and sends what it allows, what it forbids, other methods, no and bad tokens,
and sequences of requests that belong together, to a whole Stanchion on a real Temporal.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.stack import TOKEN, Stack

CONFIG = """
seed = 20260428
continue-on-failure = true
warnings = false
color = false

[generation]
max-examples = 4
# The database of examples would make a run depend on the one before.
database = "none"
# Postgres cannot hold NUL, so no text of the interface can (playbooks.load).
allow-x00 = false

[cache]
enabled = false
"""

BEYOND_A_SCHEMA = {
    "POST /api/playbooks": "actions, references between steps and expressions must exist",
    "POST /api/playbooks/validate": "the same",
    "PUT /api/playbooks/{playbook_id}": "the same, and an id must be its own",
    "POST /api/playbooks/{playbook_id}/run": "the playbook's own schema holds for the parameters",
    "POST /api/tokens": "a token must expire in the future",
    "POST /api/host-keys": "a key must be one",
    "PUT /api/assets/{asset_id}": "an id must be its own",
}
"""Where a request that fits the schema may still be refused, and why; every other check holds for these as well."""


SAME_BODY = ("POST /api/playbooks/validate", "PUT /api/playbooks/{playbook_id}")
"""Routes that take what ``POST /api/playbooks`` takes: the edges of that schema, some 2,000, are tried there once."""


def configuration() -> str:
    """Schemathesis' configuration, with what a schema cannot say."""
    parts = [CONFIG]
    for name, reason in BEYOND_A_SCHEMA.items():
        parts += [f"# {reason}", "[[operations]]", f'include-name = "{name}"']
        parts.append("checks.positive_data_acceptance.enabled = false")
        if name in SAME_BODY:
            parts.append("phases.coverage.enabled = false")
    return "\n".join(parts) + "\n"


@pytest.mark.slow
async def test_schemathesis(stack: Stack, tmp_path: Path) -> None:
    """Schemathesis finds nothing: in examples, at the edges of every schema, by chance, and in sequences."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration())
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    arguments = [f"{stack.url}/openapi.json", "--header", f"Authorization: Bearer {TOKEN}"]
    process = await asyncio.create_subprocess_exec(
        *command, *arguments, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-20_000:]
