"""A client that a stock generator makes of the live OpenAPI document: it compiles strictly, and does the main job."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.stack import TOKEN, Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROJECT = Path(__file__).parent.parent / "typescript"


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """A folder with the program, the compiler and the generator, in the versions of the lock file."""
    installed, lock = PROJECT / "node_modules" / ".package-lock.json", PROJECT / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-fund", "--no-audit"], cwd=PROJECT, check=True)
    for name in ("job.ts", "package.json", "tsconfig.json"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(PROJECT / "node_modules")
    return tmp_path


async def test_a_generated_client_does_the_main_job(shared: Stack, project: Path) -> None:
    """Store, rehearse, run, wait by events, approve, cancel and read, with every type known to the compiler."""
    await tool(project, "openapi-ts", "-i", f"{shared.url}/openapi.json", "-o", "client", "-c", "@hey-api/client-fetch")
    types = (project / "client" / "types.gen.ts").read_text()
    assert [line for line in types.splitlines() if ": unknown" in line or "<unknown>" in line] == []
    await tool(project, "tsc")
    seen = json.loads(await run(project, "node", "built/job.js", shared.url, TOKEN, str(uuid.uuid4())))
    assert seen == {
        "known": 3,
        "rehearsed": ["completed", True],
        "conflict": ["conflict", True],
        "steps": [["say", "completed"], ["ask", "completed"]],
        "said": {"said": "hello"},
        "compared": ["say", "ask"],
        "cancelled": ["cancelled", "wrong host"],
        "listed": 3,
    }


async def test_the_lock_file_names_no_registry() -> None:
    """Versions and hashes are pinned; where the packages come from is each installation's own affair."""
    lock: dict[str, Any] = json.loads((PROJECT / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert all("integrity" in one and "resolved" not in one for one in packages.values())


async def tool(folder: Path, name: str, *arguments: str) -> str:
    """What an installed tool prints."""
    return await run(folder, str(folder / "node_modules" / ".bin" / name), *arguments)


async def run(folder: Path, *command: str) -> str:
    """What the command prints; it must succeed, and the server lives in this very loop meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 240)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{command[0]}: {(out + err).decode()}"
    return out.decode()
