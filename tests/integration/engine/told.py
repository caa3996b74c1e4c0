"""What a run tells Temporal, command by command and with all that stands in it, found by a replay of its history.

A replay by itself compares only which commands come, and by which ids.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowInstance

from engine.converter import pydantic_json
from workflows.interpreter import PlaybookWorkflow
from workflows.schedule import ScheduleWorkflow

HISTORIES = Path(__file__).parents[2] / "histories"
TOLD = HISTORIES / "told"


async def told(path: Path) -> list[Any]:
    """The commands of the workflow whose history is in ``path``, in their order, as plain data."""
    listener = Listener()
    replayer = Replayer(
        workflows=[PlaybookWorkflow, ScheduleWorkflow],
        workflow_runner=listener,
        data_converter=pydantic_json,
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, path.read_text()))
    return listener.commands


class Listener(UnsandboxedWorkflowRunner):
    """Runs workflows as they are, and keeps the commands that they answer with."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def create_instance(self, det: Any) -> WorkflowInstance:
        """See the SDK's WorkflowRunner."""
        instance = super().create_instance(det)
        inner = instance.activate

        def activate(act: Any) -> Any:
            completion = inner(act)
            self.commands += [_readable(MessageToDict(one)) for one in completion.successful.commands]
            return completion

        instance.activate = activate  # type: ignore[method-assign]
        return instance


def _readable(value: Any) -> Any:
    """Payloads as the values that they hold, and failures without the lines of code that they come from."""
    if isinstance(value, dict):
        if value.keys() <= {"metadata", "data"} and isinstance(value.get("metadata"), dict):
            text = base64.b64decode(value.get("data", ""))
            return json.loads(text) if text else None
        return {name: _readable(part) for name, part in value.items() if name != "stackTrace"}
    return [_readable(part) for part in value] if isinstance(value, list) else value
