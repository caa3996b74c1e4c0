"""``script.run``: a script in a sandbox."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from activities.sandbox import Job, Outcome, run_sandboxed
from activities.scrub import end_of
from playbooks.record import Json

Argument = str | int | float | bool | list[Json] | dict[str, Json] | None

SHOWN_OF_STDERR = 500
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ScriptInput(InputModel):
    """The script, what it is given, and its limits."""

    script: Annotated[str, Field(min_length=1, max_length=512 * 1024, description="The script's text.")]
    interpreter: Annotated[Literal["sh", "bash", "python3"], Field(description="What runs it.")] = "sh"
    arguments: dict[str, Argument] = Field(
        default_factory=dict,
        description="Environment variables of the script; objects and lists as JSON.  Put values that come from "
        "outside here, never into the script's text, where they could become code.",
    )
    stdin: Annotated[str, Field(max_length=256 * 1024, description="What the script reads on standard input.")] = ""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600, description="It is killed after that.")] = 60.0
    memory_mb: Annotated[int, Field(ge=16, le=8192, description="MiB of memory for each of its processes.")] = 256
    max_processes: Annotated[int, Field(ge=1, le=512, description="Processes and threads at the same time.")] = 32
    expect_exit_code: Annotated[
        int | list[int] | None, Field(description="The exit code, or those, that count as success; null: any.")
    ] = 0

    @field_validator("script", "stdin")
    @classmethod
    def _text(cls, text: str) -> str:
        if "\0" in text:
            raise ValueError("a NUL character cannot be passed on")
        return text

    @field_validator("arguments")
    @classmethod
    def _arguments(cls, arguments: dict[str, Argument]) -> dict[str, Argument]:
        for name, value in arguments.items():
            if not _NAME.fullmatch(name):
                raise ValueError("a name is letters, digits and underscores, and begins with no digit")
            if "\0" in as_text(value):
                raise ValueError(f"{name} has a NUL character in it")
        return arguments

    def job(self) -> Job:
        """The work for the sandbox."""
        return Job(
            interpreter=self.interpreter,
            text=self.script,
            environment={name: as_text(value) for name, value in self.arguments.items()},
            stdin=self.stdin,
            seconds=self.timeout_seconds,
            memory_mb=self.memory_mb,
            processes=self.max_processes,
        )

    def expects(self, exit_code: int) -> bool:
        """True when ``exit_code`` counts as success."""
        expected = self.expect_exit_code
        return expected is None or exit_code in (expected if isinstance(expected, list) else [expected])


class ScriptOutput(OutputModel):
    """What the script said, and how it ended."""

    stdout: Annotated[str, Field(description="Standard output, up to 64 KiB; then a marker.")] = ""
    stderr: Annotated[str, Field(description="Standard error, up to 64 KiB; then a marker.")] = ""
    exit_code: Annotated[int | None, Field(description="128 + n for signal n; null in a dry run.")] = None


class ScriptRun(Action[ScriptInput, ScriptOutput]):
    """Runs a script on the worker, in a sandbox without network, with the system read-only and an empty ``/tmp``.

    Time, memory, processes and output are limited; a script that writes too much is killed.
    """

    name = "script.run"
    title = "Run a script"
    rehearsal = "Shows the script and its arguments, and runs nothing."
    Input = ScriptInput
    Output = ScriptOutput
    errors: ClassVar[Mapping[str, str]] = {
        "unexpected_exit_code": "The script's exit code is not one of `expect_exit_code`; the message has the end of "
        "what it wrote to standard error.",
        "output_limit": "The script wrote too much, and was killed: have it write less.",
        "timed_out": "The script did not end within `timeout_seconds`, and was killed.",
        "sandbox_missing": "The worker has no bubblewrap or no util-linux: install both there.",
        "sandbox_failed": "The kernel does not let the worker make a sandbox; the message says what it refused. In a "
        "container, allow user namespaces.",
        "interpreter_missing": "The worker has no such interpreter: install it there.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "script": 'printf \'%s\n\' "$wanted" "$installed" | sort -V | tail -n 1\n',
        "arguments": {"wanted": "3.0.17", "installed": "{{ asset.attributes.version }}"},
    }

    async def run(self, inputs: ScriptInput, context: ActionContext) -> ScriptOutput:
        """Run it.

        Raises ``ActionError``: what ``activities.sandbox.run_sandboxed`` raises, ``output_limit`` and
        ``unexpected_exit_code``.
        """
        outcome = await run_sandboxed(inputs.job())
        if not inputs.expects(outcome.exit_code):
            raise _refused(inputs, outcome)
        return ScriptOutput(stdout=outcome.stdout, stderr=outcome.stderr, exit_code=outcome.exit_code)

    async def rehearse(self, inputs: ScriptInput, context: ActionContext) -> Rehearsal:
        """Show what would run."""
        lines = len(inputs.script.splitlines())
        names = f" with {', '.join(inputs.arguments)}" if inputs.arguments else ""
        effect: dict[str, Json] = {
            "kind": "script",
            "interpreter": inputs.interpreter,
            "script": inputs.script,
            "arguments": inputs.job().environment,
        }
        noun = "line" if lines == 1 else "lines"
        return Rehearsal(f"Would run {lines} {noun} of {inputs.interpreter}{names}.", [effect], ScriptOutput())


def as_text(value: Argument) -> str:
    """An argument as the script sees it: text as it is, null as nothing, all else as JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refused(inputs: ScriptInput, outcome: Outcome) -> ActionError:
    if outcome.cut:
        return ActionError("output_limit", "The script wrote too much and was killed.", retryable=False)
    said = end_of(outcome.stderr.strip(), SHOWN_OF_STDERR)
    return ActionError(
        "unexpected_exit_code",
        f"The script ended with exit code {outcome.exit_code}, not {inputs.expect_exit_code}"
        + (f": {said}" if said else "."),
    )
