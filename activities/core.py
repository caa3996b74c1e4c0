"""The ``core`` family: actions that touch nothing outside the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, RootModel

from activities.action import Action, ActionContext, ActionError, InputModel, OutputModel, Rehearsal
from playbooks.record import Json

LONGEST_SLEEP = 7 * 24 * 3600.0


class AnyObject(RootModel[dict[str, Any]]):
    """Any JSON object."""

    model_config = ConfigDict(frozen=True)


class SleepInput(InputModel):
    """How long to wait."""

    seconds: Annotated[float, Field(ge=0, le=LONGEST_SLEEP, allow_inf_nan=False, description="Seconds to wait.")]


class SleepOutput(OutputModel):
    """How long it waited."""

    slept: Annotated[float, Field(description="The seconds that were asked for.")]


class FailInput(InputModel):
    """How to fail."""

    message: Annotated[str, Field(max_length=10_000, description="The error's message.")] = "Failed as asked."
    retryable: Annotated[bool, Field(description="Whether the step's retries apply to it.")] = True
    times: Annotated[
        int | None, Field(ge=0, description="Fail so many attempts, then succeed; null or absent: always fail.")
    ] = None


class FailOutput(OutputModel):
    """What is left once it no longer fails."""

    attempt: Annotated[int, Field(description="The attempt that succeeded, counted from 1.")]


class Echo(Action[AnyObject, AnyObject]):
    """Answers with its parameters, as they were resolved."""

    name = "core.echo"
    title = "Echo"
    Input = AnyObject
    Output = AnyObject
    errors: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[Mapping[str, Json]] = {"greeting": "Hello {{ asset.name }}", "started": "{{ execution.id }}"}
    safe = idempotent = quick = True

    async def run(self, inputs: AnyObject, context: ActionContext) -> AnyObject:
        """The parameters."""
        return inputs

    async def rehearse(self, inputs: AnyObject, context: ActionContext) -> Rehearsal:
        """The parameters too: nothing is read to make them."""
        return Rehearsal("Would answer with its parameters.", output=inputs)


class SetVariables(Action[AnyObject, AnyObject]):
    """Sets variables of the run: each name in its parameters can be read as ``vars.<name>`` from then on."""

    name = "core.set"
    title = "Set variables"
    rehearsal = "The variables are set in the dry run's own scope, as they would be in a live run."
    Input = AnyObject
    Output = AnyObject
    errors: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[Mapping[str, Json]] = {
        "severity": "{{ asset.tags.exists(key, asset.tags[key] == 'prod') ? 'high' : 'medium' }}"
    }
    safe = idempotent = quick = True

    async def run(self, inputs: AnyObject, context: ActionContext) -> AnyObject:
        """The parameters; the interpreter puts them into ``vars``."""
        return inputs

    async def rehearse(self, inputs: AnyObject, context: ActionContext) -> Rehearsal:
        """The parameters too: later steps of the rehearsal read them."""
        names = ", ".join(inputs.root) or "nothing"
        return Rehearsal(f"Would set {names}.", output=inputs)


class Sleep(Action[SleepInput, SleepOutput]):
    """Waits on a worker.  For waits of minutes and more, a step of type ``delay`` costs no worker."""

    name = "core.sleep"
    title = "Sleep"
    rehearsal = "Says how long it would wait, without waiting."
    Input = SleepInput
    Output = SleepOutput
    errors: ClassVar[Mapping[str, str]] = {}
    example: ClassVar[Mapping[str, Json]] = {"seconds": 2.5}
    idempotent = True

    async def run(self, inputs: SleepInput, context: ActionContext) -> SleepOutput:
        """Wait."""
        await asyncio.sleep(inputs.seconds)
        return SleepOutput(slept=inputs.seconds)

    async def rehearse(self, inputs: SleepInput, context: ActionContext) -> Rehearsal:
        """Do not wait."""
        return Rehearsal(f"Would wait {inputs.seconds:g} s.", output=SleepOutput(slept=inputs.seconds))


class Fail(Action[FailInput, FailOutput]):
    """Fails, always or for a number of attempts: to try out how a playbook handles failure."""

    name = "core.fail"
    title = "Fail"
    rehearsal = "Fails just as it would live, so that the rehearsal takes the same way through the playbook."
    Input = FailInput
    Output = FailOutput
    errors: ClassVar[Mapping[str, str]] = {"failed": "It failed as asked; the message is that of its parameters."}
    example: ClassVar[Mapping[str, Json]] = {"message": "The first two attempts fail.", "times": 2}
    idempotent = quick = True

    async def run(self, inputs: FailInput, context: ActionContext) -> FailOutput:
        """Raise ``ActionError`` with code ``failed``, or succeed after ``times`` attempts."""
        if inputs.times is None or context.attempt <= inputs.times:
            raise ActionError("failed", inputs.message, retryable=inputs.retryable)
        return FailOutput(attempt=context.attempt)

    async def rehearse(self, inputs: FailInput, context: ActionContext) -> Rehearsal:
        """Fail as ``run`` does; raises ``ActionError`` with code ``failed``."""
        return Rehearsal("Would succeed now.", output=await self.run(inputs, context))
