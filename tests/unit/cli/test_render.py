"""An execution as it is shown to people."""

from __future__ import annotations

import pytest

from cli.render import print_execution


def test_what_a_rehearsal_would_do_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the answer has the sentence of a step, it stands beside what went in."""
    step = {"index": 0, "name": "Restart", "status": "completed", "would": "would restart nginx", "input": {"a": 1}}
    print_execution({"execution_id": "exec-1", "dry_run": True, "status": "completed", "steps": [step]})
    assert capsys.readouterr().out.splitlines()[-2:] == ["1 Restart: would restart nginx", "1 Restart, input: {'a': 1}"]
