"""``ssh.command``: one command on a host."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from activities.action import Action, ActionContext, ActionError, OutputModel, Rehearsal
from activities.error_advice import SSH_ERRORS
from activities.hosts.target import HostInput, effect_on
from activities.scrub import excerpt_of
from playbooks.actions import Traits
from playbooks.record import Json

SHOWN_OF_COMMAND = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class CommandInput(HostInput):
    """The command, what it is given, and what counts as success."""

    command: Annotated[str, Field(min_length=1, max_length=128 * 1024, description="The command, for a POSIX shell.")]
    stdin: Annotated[str, Field(max_length=1024 * 1024, description="What it reads on standard input.")] = ""
    environment: dict[str, str] = Field(
        default_factory=dict,
        max_length=100,
        description="Environment variables, each of one line. Put values that come from outside here, never into the "
        "command's text, where they could become code. They do not show in the list of processes.",
    )
    expect_exit_code: Annotated[
        int | list[int] | None, Field(description="The exit code, or those, that count as success; null: any.")
    ] = 0
    sudo: Annotated[bool, Field(description="Run as root by sudo, which must ask for no password.")] = False
    raw: Annotated[
        bool,
        Field(
            description="true: send the command as it stands, to a host without a POSIX shell, such as a switch. A "
            "cancel may then leave it running."
        ),
    ] = False
    changes: Annotated[
        bool, Field(description="false: the command only reads, so it runs for real in a dry run too.")
    ] = True
    idempotent: Annotated[
        bool, Field(description="true: running it twice does no harm, so a crash of the worker repeats it.")
    ] = False
    max_output_bytes: Annotated[
        int, Field(ge=1024, le=16 * 1024 * 1024, description="A command that writes more to one stream is killed.")
    ] = 256 * 1024

    @field_validator("command", "stdin")
    @classmethod
    def _text(cls, text: str) -> str:
        if "\0" in text:
            raise ValueError("a NUL character cannot be passed on")
        return text

    @model_validator(mode="after")
    def _raw_is_bare(self) -> CommandInput:
        if self.raw and (self.sudo or self.environment):
            raise ValueError("raw goes without sudo and environment, which need a shell")
        return self

    @field_validator("environment")
    @classmethod
    def _environment(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if not _NAME.fullmatch(name):
                raise ValueError("a name is letters, digits and underscores, and begins with no digit")
            if set(value) & {"\0", "\n", "\r"}:
                raise ValueError(f"{name} has more than one line; hand it over as stdin")
        return environment

    def expects(self, exit_code: int) -> bool:
        """True when ``exit_code`` counts as success."""
        expected = self.expect_exit_code
        return expected is None or exit_code in (expected if isinstance(expected, list) else [expected])


class CommandOutput(OutputModel):
    """What the command said, and how it ended."""

    stdout: Annotated[str, Field(description="Standard output.")] = ""
    stderr: Annotated[str, Field(description="Standard error.")] = ""
    exit_code: Annotated[int | None, Field(description="128 + n for signal n; null in a dry run.")] = None


class SshCommand(Action[CommandInput, CommandOutput]):
    """Runs a command on a host over SSH.

    The host's key must be trusted beforehand (``stanchion host trust``) or stand in ``host_key``.  A cancel kills the
    command on the host.
    """

    name = "ssh.command"
    title = "Run a command on a host"
    rehearsal = "Shows the command and connects to nothing; one with changes: false runs for real."
    Input = CommandInput
    Output = CommandOutput
    errors: ClassVar[Mapping[str, str]] = {
        **SSH_ERRORS,
        "unexpected_exit_code": "The command's exit code is not one of `expect_exit_code`; the message has the end of "
        "what it wrote.",
    }
    example: ClassVar[Mapping[str, Json]] = {
        "host": "{{ asset.hostname }}",
        "username": "ops",
        "private_key": "{{ secrets.ssh_key }}",
        "command": 'systemctl is-active "$unit"',
        "environment": {"unit": "nginx"},
        "changes": False,
    }

    @classmethod
    def traits(cls, parameters: Json) -> Traits:
        """By ``changes`` and ``idempotent``, when they are constants."""
        given = parameters if isinstance(parameters, dict) else {}
        reads = given.get("changes") is False
        return Traits(safe=reads, idempotent=reads or given.get("idempotent") is True)

    async def run(self, inputs: CommandInput, context: ActionContext) -> CommandOutput:
        """Run it.

        Raises ``ActionError``: what ``connected`` and ``Host.run`` raise, and ``unexpected_exit_code``.
        """
        from activities.hosts.connection import connected

        command, stdin = with_environment(inputs.command, inputs.environment, inputs.stdin)
        async with connected(inputs, context) as host:
            done = await host.run(command, stdin, limit=inputs.max_output_bytes, sudo=inputs.sudo, raw=inputs.raw)
        if not inputs.expects(done.exit_code):
            said = done.said()
            raise ActionError(
                "unexpected_exit_code",
                f"The command on {inputs.place} ended with exit code {done.exit_code}, not {inputs.expect_exit_code}"
                + (f": {said}" if said else "."),
            )
        return CommandOutput(stdout=done.text, stderr=done.errors, exit_code=done.exit_code)

    async def rehearse(self, inputs: CommandInput, context: ActionContext) -> Rehearsal:
        """Show what would run."""
        effects: list[dict[str, Json]] = []
        if inputs.changes:
            names: list[Json] = list(inputs.environment)
            effects = [effect_on(inputs, "command", command=inputs.command, environment=names, sudo=inputs.sudo)]
        shown = excerpt_of(inputs.command, SHOWN_OF_COMMAND)
        user = "root" if inputs.sudo else inputs.username
        return Rehearsal(f"Would run on {inputs.place} as {user}: {shown}", effects, CommandOutput())


def with_environment(command: str, environment: dict[str, str], stdin: str) -> tuple[str, bytes]:
    """The command and its input when the variables come first on standard input.

    A server takes few variables of a client (``AcceptEnv``), and on a command line everybody on the host can read
    them.
    """
    content = stdin.encode("utf-8", "replace")
    if not environment:
        return command, content
    reads = "; ".join(f"IFS= read -r {name}" for name in environment)
    script = f"{reads}; export {' '.join(environment)}\n{command}"
    lines = "".join(f"{value}\n" for value in environment.values())
    return f"sh -c {shlex.quote(script)}", lines.encode("utf-8", "replace") + content
