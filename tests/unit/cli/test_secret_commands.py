"""``stanchion secret``, against a real HTTP server."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from typer.testing import CliRunner, Result

from cli.main import app
from tests.fake_api import FakeApi, Reply

ROW = {"name": "smtp_password", "updated_at": "2026-04-28T11:00:00Z", "updated_by": "admin"}


def secret(api: FakeApi, *arguments: str, stdin: str | None = None) -> Result:
    """The outcome of ``stanchion secret``."""
    return CliRunner().invoke(app, ["secret", *arguments, "--url", api.url, "--token", "t"], input=stdin)


@pytest.mark.parametrize("stdin", ["hunter2", "hunter2\n", "hunter2\r\n"])
def test_set_takes_the_value_from_stdin(stdin: str) -> None:
    """The value is what came, without its line break, and is not shown."""
    with FakeApi(lambda _: Reply(body=ROW)) as api:
        outcome = secret(api, "set", "smtp_password", stdin=stdin)
    (asked,) = api.asked
    assert (asked.method, asked.path, asked.json) == ("PUT", "/api/secrets/smtp_password", {"value": "hunter2"})
    assert (outcome.exit_code, outcome.stdout) == (0, "smtp_password is set.\n")


def test_set_takes_no_value_from_the_command_line() -> None:
    """A value among the arguments would stand in the shell's history: it is wrong use, and nothing is sent."""
    with FakeApi(lambda _: Reply(body=ROW)) as api:
        assert secret(api, "set", "smtp_password", "hunter2").exit_code == 2
        assert secret(api, "set", "smtp_password", stdin="").exit_code == 2
    assert api.asked == []


def test_set_asks_in_a_terminal_and_shows_nothing() -> None:
    """In a terminal the value is asked for twice, and not echoed."""
    with FakeApi(lambda _: Reply(body=ROW)) as api:
        main, terminal = pty.openpty()
        command = [sys.executable, "-m", "cli.main", "secret", "set", "smtp_password", "--url", api.url, "--token", "t"]
        process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
        os.close(terminal)
        seen = b""
        for prompt in (b"smtp_password: ", b"confirmation: "):
            while not seen.endswith(prompt):
                seen += os.read(main, 1)
            os.write(main, b"hunter2\n")
        try:
            while chunk := os.read(main, 1024):
                seen += chunk
        except OSError:  # Linux says so when nobody has the terminal open any more
            pass
        assert process.wait() == 0, seen
        os.close(main)
    assert api.asked[0].json == {"value": "hunter2"}
    assert b"hunter2" not in seen
    assert b"smtp_password is set." in seen


def test_list_and_delete() -> None:
    """`list` shows names, `delete` removes one."""
    with FakeApi(lambda asked: Reply(body={"data": [ROW]}) if asked.method == "GET" else Reply(204)) as api:
        assert "smtp_password  2026-04-28T11:00:00Z  admin" in secret(api, "list").stdout
        assert secret(api, "delete", "smtp_password").stdout == "smtp_password is deleted.\n"
    assert [(asked.method, asked.path) for asked in api.asked] == [
        ("GET", "/api/secrets?page=1&per_page=20"),
        ("DELETE", "/api/secrets/smtp_password"),
    ]
