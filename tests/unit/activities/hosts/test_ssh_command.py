"""``ssh.command`` on a real host: what runs there, what comes back, how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activities.action import ActionContext, ActionError
from activities.hosts.command import CommandInput, CommandOutput, SshCommand
from tests.hosts import OPS_PASSWORD, Machine
from tests.unit.activities.action_support import Stage, make_context


async def ssh(machine: Machine, command: str, context: ActionContext | None = None, **changes: Any) -> CommandOutput:
    """The outcome of ``command`` on ``machine``."""
    inputs = CommandInput.model_validate({**machine.login(), "command": command, **changes})
    return await SshCommand().run(inputs, context or make_context())


async def refused(machine: Machine, command: str = "true", **changes: Any) -> ActionError:
    """The error of a command that does not work."""
    with pytest.raises(ActionError) as caught:
        await ssh(machine, command, **changes)
    return caught.value


def processes(machine: Machine, mark: str) -> str:
    """The processes on the host with ``mark`` in their command, this search excepted."""
    return machine.inside(f"pgrep -f '[{mark[0]}]{mark[1:]}'", check=False)


async def test_output_and_exit_code(machine: Machine) -> None:
    """Both streams come back, with the exit code."""
    done = await ssh(machine, "echo out; echo err >&2; exit 3", expect_exit_code=[0, 3])
    assert done == CommandOutput(stdout="out\n", stderr="err\n", exit_code=3)


async def test_a_signal_counts_as_in_a_shell(machine: Machine) -> None:
    """A command that is killed ends with 128 and the signal's number."""
    assert (await ssh(machine, "kill -KILL $$", expect_exit_code=None)).exit_code == 137


async def test_another_exit_code_is_an_error(machine: Machine) -> None:
    """Its message holds what the command said last."""
    error = await refused(machine, "echo no such thing >&2; exit 4")
    assert error.code == "unexpected_exit_code"
    assert "exit code 4, not 0: no such thing" in error.message


async def test_input_and_environment(machine: Machine) -> None:
    """Values arrive as they are, whatever a shell would make of them."""
    value = "it's $HOME; `id`"
    done = await ssh(machine, 'printf "%s|" "$A" "$B"; cat', environment={"A": value, "B": ""}, stdin="typed\n")
    assert done.stdout == f"{value}||typed\n"


async def test_environment_is_not_for_all_to_see(machine: Machine) -> None:
    """No command line on the host holds a variable's value."""
    done = await ssh(machine, "cat /proc/*/cmdline | tr '\\0' ' '", environment={"TOKEN": "a-value-to-hide"})
    assert "read -r TOKEN" in done.stdout
    assert "a-value-to-hide" not in done.stdout


async def test_large_input(machine: Machine) -> None:
    """A mebibyte goes through; a command that reads none of it ends all the same."""
    assert (await ssh(machine, "wc -c", stdin="x" * 1024 * 1024)).stdout.strip() == str(1024 * 1024)
    assert (await ssh(machine, "true", stdin="x" * 1024 * 1024)).exit_code == 0


async def test_sudo(machine: Machine) -> None:
    """A user with sudo runs as root, with its input and environment."""
    done = await ssh(machine, "id -un; echo $A; cat", username="ops", sudo=True, environment={"A": "b"}, stdin="c")
    assert done.stdout == "root\nb\nc"


async def test_sudo_refused(machine: Machine) -> None:
    """A user who may not is told, and what sudo said of it."""
    error = await refused(machine, username="plain", sudo=True)
    assert (error.code, error.retryable) == ("sudo_refused", False)
    assert "sudoers" in error.message


async def test_raw(machine: Machine) -> None:
    """A command for a host without a POSIX shell is sent as it stands."""
    assert (await ssh(machine, "echo $0", raw=True)).stdout == "bash\n"


async def test_no_shell(machine: Machine) -> None:
    """An account that has none is told so."""
    assert (await refused(machine, username="nobody")).code == "shell_missing"


async def test_too_much_output(machine: Machine) -> None:
    """A command that writes without end is killed on the host."""
    error = await refused(machine, "exec yes without-end", max_output_bytes=4096)
    assert (error.code, error.retryable) == ("output_limit", False)
    assert not processes(machine, "without-end")


@pytest.mark.parametrize("login", [{}, {"username": "ops"}, {"username": "ops", "sudo": True}, {"username": "plain"}])
async def test_a_cancel_kills(machine: Machine, login: dict[str, Any]) -> None:
    """The command and its children are killed on the host; also where the login shell is no bash."""
    mark = f"98{len(str(login))}.5"
    running = asyncio.create_task(ssh(machine, f"sleep {mark}; echo never", **login))
    while not processes(machine, f"sleep {mark}"):
        await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    # The host may still be at killing it: the cancel waits for that as long as a cancel may take.
    async with asyncio.timeout(60):
        while processes(machine, f"sleep {mark}"):
            await asyncio.sleep(0.1)


async def test_password(machine: Machine) -> None:
    """A password logs in where no key is given; a wrong one is refused for good."""
    assert (await ssh(machine, "id -un", username="ops", private_key=None, password=OPS_PASSWORD)).stdout == "ops\n"
    error = await refused(machine, username="ops", private_key=None, password="wrong")
    assert (error.code, error.retryable) == ("login_refused", False)
    assert "wrong" not in error.message


async def test_a_dry_run_of_a_reading_command_runs(machine: Machine, stage: Stage) -> None:
    """With changes: false it is safe, so a dry run has its real output; otherwise it is shown only."""
    call = {**machine.login(), "command": "echo real"}
    real = await stage.perform("ssh.command", {**call, "changes": False}, dry_run=True, dry_run_reads=True)
    shown = await stage.perform("ssh.command", call, dry_run=True, dry_run_reads=True)
    assert (real.output["stdout"], real.would) == ("real\n", None)
    assert (shown.output["exit_code"], shown.would) == (
        None,
        f"Would run on 127.0.0.1:{machine.port} as root: echo real",
    )
    assert [effect["kind"] for effect in shown.effects] == ["command"]


@pytest.mark.parametrize(
    ("parameters", "safe", "idempotent"),
    [
        ({}, False, False),
        ({"changes": False}, True, True),
        ({"idempotent": True}, False, True),
        ({"changes": "{{ parameters.x }}", "idempotent": "{{ parameters.x }}"}, False, False),
    ],
)
def test_traits(parameters: dict[str, Any], safe: bool, idempotent: bool) -> None:
    """Only constants promise anything."""
    traits = SshCommand.traits(parameters)
    assert (traits.safe, traits.idempotent) == (safe, idempotent)


@pytest.mark.parametrize(
    "changes",
    [
        {"command": "a\0b"},
        {"environment": {"A-B": "x"}},
        {"environment": {"A": "two\nlines"}},
        {"raw": True, "sudo": True},
        {"host": "-oProxyCommand=x"},
        {"username": "-x"},
        {"host_key": ["ssh-ed25519 nonsense"]},
    ],
)
def test_bad_input(changes: dict[str, Any]) -> None:
    """It is refused before anything is connected."""
    with pytest.raises(ValueError, match="validation error"):
        CommandInput.model_validate({"host": "web-01", "command": "true", **changes})
