"""Actions for tests, added the way that a third party adds its own: by entry point."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import ClassVar

from activities.action import Action, ActionContext, InputModel, OutputModel, Rehearsal


class StubbornInput(InputModel):
    """How long to go on after being told to stop, in seconds."""

    seconds: float = 1.0


class Done(OutputModel):
    """The action came to its end."""

    done: bool = True


class Stubborn(Action[StubbornInput, Done]):
    """Swallows a cancel and finishes all the same."""

    name: ClassVar[str] = "test.stubborn"
    title: ClassVar[str] = "Finish whatever happens"
    rehearsal: ClassVar[str] = "Does nothing."
    Input = StubbornInput
    Output = Done

    async def run(self, inputs: StubbornInput, context: ActionContext) -> Done:
        """Sleep, through any cancel."""
        end = asyncio.get_running_loop().time() + inputs.seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                await asyncio.sleep(left)
            except asyncio.CancelledError:
                continue
        return Done()

    async def rehearse(self, inputs: StubbornInput, context: ActionContext) -> Rehearsal:
        """Say so."""
        return Rehearsal(would="would finish", output=Done())


class AppendInput(InputModel):
    """A line for a file; then seconds to stay at work, or a file to wait for; then ``end``, where given, as well."""

    path: str
    line: str = "x"
    seconds: float = 0.0
    until: str | None = None
    end: str | None = None


class Append(Action[AppendInput, Done]):
    """Appends a line to a file, the side effect that tests count; may be repeated."""

    name: ClassVar[str] = "test.append"
    title: ClassVar[str] = "Append a line"
    rehearsal: ClassVar[str] = "Says what it would append."
    idempotent: ClassVar[bool] = True
    Input = AppendInput
    Output = Done

    async def run(self, inputs: AppendInput, context: ActionContext) -> Done:
        """Append, then stay at work."""
        _append(inputs.path, inputs.line)
        await asyncio.sleep(inputs.seconds)
        while inputs.until is not None and not Path(inputs.until).exists():
            await asyncio.sleep(0.05)
        if inputs.end is not None:
            _append(inputs.path, inputs.end)
        return Done()

    async def rehearse(self, inputs: AppendInput, context: ActionContext) -> Rehearsal:
        """Say so."""
        return Rehearsal(would=f"would append to {inputs.path}", effects=[{"kind": "file", "path": inputs.path}])


def _append(path: str, line: str) -> None:
    with Path(path).open("a") as file:
        file.write(line + "\n")


class AppendOnce(Append):
    """The same, where a repetition would do harm."""

    name: ClassVar[str] = "test.append_once"
    idempotent: ClassVar[bool] = False


class LargeInput(InputModel):
    """How much text to answer with, in bytes."""

    bytes: int


class LargeOutput(OutputModel):
    """A lot of text."""

    text: str


class Large(Action[LargeInput, LargeOutput]):
    """Answers with a lot of text."""

    name: ClassVar[str] = "test.large"
    title: ClassVar[str] = "Answer at length"
    rehearsal: ClassVar[str] = "Reads nothing and changes nothing."
    Input = LargeInput
    Output = LargeOutput
    safe: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True

    async def run(self, inputs: LargeInput, context: ActionContext) -> LargeOutput:
        """Make the text."""
        return LargeOutput(text="0123456789abcdef" * (inputs.bytes // 16))


class BlurtInput(InputModel):
    """What is blurted out."""

    text: str


class Blurt(Action[BlurtInput, Done]):
    """Tells what it knows in every way that an action has, and fails of it."""

    name: ClassVar[str] = "test.blurt"
    title: ClassVar[str] = "Blurt out"
    rehearsal: ClassVar[str] = "Blurts out as well."
    Input = BlurtInput
    Output = Done

    async def run(self, inputs: BlurtInput, context: ActionContext) -> Done:
        """Log it, from a thread too, beat with it, and raise it."""
        logging.getLogger("blurt").warning("it is %s", inputs.text)
        await asyncio.to_thread(logging.getLogger("blurt.thread").error, "in a thread: %s", {"text": inputs.text})
        for _ in range(3):
            context.heartbeat({"now": [inputs.text]})
            await asyncio.sleep(0.4)
        try:
            raise ValueError(inputs.text)
        except ValueError as error:
            raise RuntimeError(f"because of {inputs.text}") from error

    async def rehearse(self, inputs: BlurtInput, context: ActionContext) -> Rehearsal:
        """Tell it."""
        return Rehearsal(f"Would tell {inputs.text}.", [{"kind": "talk", "text": inputs.text}])
