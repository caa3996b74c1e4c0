"""What the command loads before it says anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"temporalio", "fastapi", "sqlalchemy", "pydantic", "httpx2", "rich", "asyncio", "yaml"}
PROBE = """
import sys
sys.argv = ["stanchion", *{arguments!r}]
from cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, None), end.code
print("LOADED", *sorted(set(sys.modules) & {heavy!r}))
"""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["playbook", "push", "--help"]])
def test_first_output_needs_nothing_heavy(arguments: list[str]) -> None:
    """Help and version come without any of the libraries that take a quarter of a second each."""
    code = PROBE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]
