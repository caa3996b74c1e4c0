"""``script.run`` in its real sandbox."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError

from activities import sandbox
from activities.action import ActionContext, ActionError
from activities.script import ScriptInput, ScriptOutput, ScriptRun
from tests.unit.activities.action_support import Stage, make_stage


async def run(context: ActionContext, script: str, **inputs: object) -> ScriptOutput:
    return await ScriptRun().run(ScriptInput.model_validate({"script": script, **inputs}), context)


async def failure(context: ActionContext, script: str, **inputs: object) -> ActionError:
    with pytest.raises(ActionError) as raised:
        await run(context, script, **inputs)
    return raised.value


def running(mark: str) -> list[str]:
    """The processes of this machine whose command line has ``mark`` in it."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        except (OSError, ValueError):
            continue
        if mark in command:
            found.append(command)
    return found


async def eventually(condition: Callable[[], bool], within: float) -> bool:
    """True as soon as ``condition`` holds, False when it does not within so many seconds."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if condition():
            return True
        await asyncio.sleep(0.02)
    return condition()


async def gone(mark: str) -> bool:
    """True when no process with ``mark`` is left after a second."""
    return await eventually(lambda: not running(mark), 1.0)


def open_files() -> int:
    """How many file descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("interpreter", "script"),
    [
        ("sh", "echo out; echo err >&2"),
        ("bash", "[[ 1 ]] && echo out; echo err >&2"),
        ("python3", "import sys; print('out'); print('err', file=sys.stderr)"),
    ],
)
async def test_output_and_exit_code_come_back(context: ActionContext, interpreter: str, script: str) -> None:
    """Both streams are kept apart."""
    output = await run(context, script, interpreter=interpreter)
    assert output == ScriptOutput(stdout="out\n", stderr="err\n", exit_code=0)


async def test_arguments_are_environment_variables(context: ActionContext) -> None:
    """Values never become code; other kinds than text arrive as JSON."""
    evil = "$(touch /tmp/x); `id` \"'\nä"
    output = await run(
        context,
        'printf "%s|%s|%s|%s|%s" "$EVIL" "$N" "$B" "$O" "$NONE"; test ! -e /tmp/x',
        arguments={"EVIL": evil, "N": 3, "B": True, "O": {"a": [1]}, "NONE": None},
    )
    assert output.stdout == f'{evil}|3|true|{{"a": [1]}}|'


async def test_standard_input_is_given(context: ActionContext) -> None:
    """stdin is read to its end, larger than a pipe's buffer too."""
    assert (await run(context, "wc -c", stdin="x" * 200_000)).stdout.strip() == "200000"


async def test_unread_standard_input_does_no_harm(context: ActionContext) -> None:
    """A script need not read what it is given."""
    assert (await run(context, "true", stdin="x" * 200_000)).exit_code == 0


async def test_an_unexpected_exit_code_fails(context: ActionContext) -> None:
    """The error tells the code and the end of what the script complained about."""
    error = await failure(context, "echo it broke >&2; exit 3")
    assert (error.code, error.message) == ("unexpected_exit_code", "The script ended with exit code 3, not 0: it broke")


@pytest.mark.parametrize("expected", [3, [0, 3], None])
async def test_the_expected_exit_code_may_be_any(context: ActionContext, expected: object) -> None:
    """One code, several, or null for all."""
    assert (await run(context, "exit 3", expect_exit_code=expected)).exit_code == 3


async def test_a_signal_is_told_as_by_a_shell(context: ActionContext) -> None:
    """128 + 9 for a script that was killed."""
    assert (await run(context, "kill -9 $$", expect_exit_code=None)).exit_code == 137


async def test_there_is_no_network(context: ActionContext) -> None:
    """Not even the worker's loopback can be reached, and there is no other interface."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        script = f"""
import socket
print([name for _, name in socket.if_nameindex()])
socket.create_connection(("127.0.0.1", {listening.getsockname()[1]}), 1)
"""
        output = await run(context, script, interpreter="python3", expect_exit_code=1)
    assert output.stdout == "['lo']\n"
    assert "ConnectionRefusedError" in output.stderr


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/script", "/dev/x", "/etc/x", "/bin/x"])
async def test_nothing_can_be_written_but_tmp(context: ActionContext, path: str) -> None:
    """The root is read-only, the script itself too."""
    output = await run(context, f"echo x > {path}", expect_exit_code=None)
    assert output.exit_code != 0


async def test_tmp_is_private_and_empty(context: ActionContext, tmp_path: Path) -> None:
    """Files of the host's /tmp are not there, and what the script leaves behind is gone."""
    assert (await run(context, "ls -A /tmp; echo x > /tmp/left")).stdout == ""
    assert (await run(context, "ls -A /tmp")).stdout == ""


@pytest.mark.parametrize(
    "path", ["/root", "/home", "/etc/shadow", "/etc/passwd", "/var", "/opt", "/sys", "/run", "/work"]
)
async def test_what_is_the_hosts_is_hidden(context: ActionContext, path: str) -> None:
    """Homes, accounts, state and secrets of the worker's machine do not exist inside."""
    assert (await run(context, f"test ! -e {path}")).exit_code == 0


async def test_the_data_folder_is_hidden(context: ActionContext, tmp_path: Path) -> None:
    """A path of the worker's own is not found inside."""
    (tmp_path / "stanchion.sqlite").write_text("x")
    assert (await run(context, f"test ! -e {tmp_path}")).exit_code == 0


async def test_no_other_process_is_seen(context: ActionContext) -> None:
    """Only the sandbox's own processes are in /proc."""
    numbers = [int(name) for name in (await run(context, "ls /proc")).stdout.split() if name.isdigit()]
    assert numbers
    assert max(numbers) < 50


async def test_the_workers_environment_is_not_seen(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the script's own environment nor in that of any process that it can see."""
    monkeypatch.setenv("STANCHION_SECRET_CANARY", "canary-value")
    output = await run(context, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "canary" not in output.stdout.lower()


async def test_arguments_are_not_on_a_command_line(context: ActionContext) -> None:
    """Every process of the host may read command lines; script and arguments are not there."""
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    task = asyncio.create_task(run(context, f"sleep 0.5 # {mark}", arguments={"A": mark}))
    await asyncio.sleep(0.2)
    found = running(mark)
    await task
    assert found == []


async def test_there_are_no_capabilities(context: ActionContext) -> None:
    """Inside it is nobody, without any privilege, and with none to gain."""
    output = await run(context, "id -u; grep -E 'Cap(Eff|Bnd)|NoNewPrivs' /proc/self/status | tr -s '\\t ' ' '")
    assert output.stdout == "65534\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n"


async def test_no_further_namespace_can_be_made(context: ActionContext) -> None:
    """A sandbox in the sandbox would bring privileges back."""
    assert (await run(context, "unshare -U true", expect_exit_code=None)).exit_code != 0


async def test_memory_is_limited(context: ActionContext) -> None:
    """An allocation beyond the limit fails inside, and takes nothing from the worker."""
    error = await failure(context, "x = 'a' * 10**9", interpreter="python3", memory_mb=64)
    assert "MemoryError" in error.message


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
async def test_files_in_memory_are_limited(context: ActionContext, folder: str) -> None:
    """Files count as memory, and end at the same limit."""
    error = await failure(context, f"head -c 64M /dev/zero > {folder}/x", memory_mb=32)
    assert "No space left" in error.message


async def test_the_number_of_processes_is_limited(context: ActionContext) -> None:
    """A fork bomb is stopped by the kernel."""
    script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all"
    error = await failure(context, script, max_processes=4)
    assert "fork" in error.message


async def test_that_many_processes_are_allowed(context: ActionContext) -> None:
    """The limit is the number that was asked for, the script's own process included."""
    output = await run(context, "for i in 1 2 3; do sleep 0.05 & done; wait; echo all", max_processes=4)
    assert output.stdout == "all\n"


async def test_time_is_limited(context: ActionContext) -> None:
    """A script that does not end is killed, with all that it started."""
    mark = f"3{time.monotonic_ns()}"
    error = await failure(context, f"sleep {mark} & sleep {mark}", timeout_seconds=0.3)
    assert error.code == "timed_out"
    assert await gone(mark)


async def test_too_much_output_kills_the_script(context: ActionContext) -> None:
    """An endless writer is killed; the error says why."""
    error = await failure(context, "yes")
    assert (error.code, error.retryable) == ("output_limit", False)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_too_much_output_is_cut_with_a_marker(context: ActionContext, stream: str) -> None:
    """Where any exit code is accepted, the beginning comes back and says that it was cut."""
    output = await run(context, "yes" if stream == "stdout" else "yes >&2", expect_exit_code=None)
    text = getattr(output, stream)
    assert output.exit_code == 137
    assert text.endswith("\n[cut after 65536 bytes]")
    assert len(text) < 65536 + 100


async def test_output_just_at_the_limit_is_whole(context: ActionContext) -> None:
    """65,536 bytes are not too much."""
    output = await run(context, "head -c 65536 /dev/zero | tr '\\0' x")
    assert output.stdout == "x" * 65536


async def test_output_that_is_no_text_is_replaced(context: ActionContext) -> None:
    """Bytes that are not UTF-8 do not break the answer."""
    assert (await run(context, "printf '\\377a'")).stdout == "\ufffda"


async def test_a_cancel_kills_the_whole_tree(context: ActionContext) -> None:
    """Within a second nothing that the script started is left."""
    mark = f"4{time.monotonic_ns()}"
    script = f"trap '' TERM INT HUP; (setsid sleep {mark} &) ; nohup sleep {mark} & sleep {mark}"
    task = asyncio.create_task(run(context, script))
    assert await eventually(lambda: len(running(mark)) >= 3, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(mark)


async def test_a_cancel_right_at_the_start_leaves_nothing(context: ActionContext) -> None:
    """Whenever the cancel comes, also while the sandbox is being made, no process stays behind."""
    seconds = 600 + os.getpid() % 3000  # tells these sandboxes from those of tests that run beside this one
    for turn in range(30):
        task = asyncio.create_task(run(context, "sleep 60", timeout_seconds=seconds))
        await asyncio.sleep(turn / 3000)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done
        assert task.cancelled()
    assert await eventually(lambda: not running(f"--cpu={seconds + 1}:"), 2)


async def test_a_script_may_signal_its_own_group(context: ActionContext) -> None:
    """``kill 0``, as scripts do to end what they started, reaches nothing outside."""
    assert (await run(context, "trap '' TERM; sleep 60 & kill 0; echo still here")).stdout == "still here\n"


async def test_a_background_process_does_not_outlive_the_script(context: ActionContext) -> None:
    """The step ends with the script, though something it started still holds the output open."""
    mark = f"6{time.monotonic_ns()}"
    async with asyncio.timeout(60):
        await run(context, f"sleep {mark} & exit 0")
    assert await gone(mark)


async def test_no_file_descriptor_is_left(context: ActionContext) -> None:
    """A worker that runs scripts for months does not run out of them."""
    await run(context, "true")
    before = open_files()
    for _ in range(5):
        await run(context, "true")
        await failure(context, "exit 1")
    await asyncio.sleep(0.05)
    assert open_files() <= before


async def test_a_missing_sandbox_says_what_to_install(
    context: ActionContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without bubblewrap nothing runs, least of all without a sandbox."""
    monkeypatch.setenv("PATH", str(tmp_path))
    error = await failure(context, "true")
    assert (error.code, error.retryable) == ("sandbox_missing", False)
    assert "apt-get install bubblewrap" in error.message


async def test_a_missing_interpreter_is_told(context: ActionContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter that the worker lacks is not the script's failure."""
    monkeypatch.setattr(sandbox, "PATH", "/nowhere")
    assert (await failure(context, "true", interpreter="python3")).code == "interpreter_missing"


async def test_a_sandbox_that_cannot_be_made_is_told(
    context: ActionContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What bwrap complains about is not taken for the script's own failure."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("prlimit", "setpriv"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    (tools / "bwrap").write_text("#!/bin/sh\necho 'bwrap: no permissions' >&2\nexit 1\n")
    (tools / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    error = await failure(context, "true")
    assert (error.code, error.retryable) == ("sandbox_failed", False)


@pytest.mark.parametrize(
    "inputs",
    [
        {"script": ""},
        {"script": "a\0b"},
        {"script": "true", "interpreter": "perl"},
        {"script": "true", "arguments": {"BAD-NAME": "x"}},
        {"script": "true", "arguments": {"A=B": "x"}},
        {"script": "true", "arguments": {"A": "x\0y"}},
        {"script": "true", "timeout_seconds": 0},
        {"script": "true", "memory_mb": 0},
        {"script": "true", "max_processes": 100_000},
    ],
)
async def test_senseless_parameters_are_refused(stage: Stage, inputs: dict[str, object]) -> None:
    """Nothing runs with limits or names that make no sense."""
    with pytest.raises(ApplicationError) as raised:
        await stage.perform("script.run", inputs)
    assert raised.value.type == "invalid_input"


async def test_the_rehearsal_shows_the_script_and_runs_nothing(stage: Stage) -> None:
    """The text and the arguments as they were rendered are there to be read."""
    result = await stage.perform(
        "script.run", {"script": "rm -rf /\nsync", "interpreter": "bash", "arguments": {"A": 1}}, dry_run=True
    )
    assert result.would == "Would run 2 lines of bash with A."
    assert result.effects == [
        {"kind": "script", "interpreter": "bash", "script": "rm -rf /\nsync", "arguments": {"A": "1"}}
    ]
    assert result.output == {"stdout": "", "stderr": "", "exit_code": None}


async def test_a_secret_argument_is_masked_in_the_output() -> None:
    """The script has the value; its output does not show it, even in base64."""
    stage = make_stage(environment={"STANCHION_SECRET_KEY": "tok-123456"})
    result = await stage.perform(
        "script.run",
        {"script": 'echo "$KEY"; printf %s "$KEY" | base64; printf %s "$KEY" | wc -c', "arguments": {"KEY": "***"}},
        secrets=[{"pointer": "/arguments/KEY", "parts": [{"secret": "key"}]}],
    )
    lines = result.output["stdout"].split()
    assert (lines[0], lines[2]) == ("***", "10")
    assert lines[1].startswith("***")
