"""This machine as a host of the demo: reached by the real actions, with its own key alone."""

from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from activities.action import ActionError
from activities.hosts.command import CommandInput, CommandOutput, SshCommand
from cli.local_host import LOOPBACK, USER, LocalHost
from tests.unit.activities.action_support import make_context


async def ssh(host: LocalHost, **given: Any) -> CommandOutput:
    """What a command on the host answers."""
    login = {"host": LOOPBACK, "port": host.port, "username": USER, "host_key": [host.host_key]}
    parameters = {"private_key": host.private_key, "connect_timeout": 60, **login, **given}
    return await SshCommand().run(CommandInput.model_validate(parameters), make_context())


async def test_a_command_runs_with_input_and_exit_code() -> None:
    """Both streams, standard input and the exit code come and go as on any host."""
    with LocalHost() as host:
        done = await ssh(host, command="cat; echo wrong >&2; exit 3", stdin="given", expect_exit_code=3)
    assert (done.stdout, done.stderr, done.exit_code) == ("given", "wrong\n", 3)


@pytest.mark.parametrize("by", ["key", "password"])
async def test_nobody_else_logs_in(by: str) -> None:
    """Another key is refused, and any password."""
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    given: dict[str, Any] = {"private_key": key} if by == "key" else {"private_key": None, "password": "x"}
    with LocalHost() as host, pytest.raises(ActionError, match="login_refused"):
        await ssh(host, command="true", **given)
