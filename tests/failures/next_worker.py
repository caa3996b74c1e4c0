"""A worker of a next version: its interpreter does one thing more before each action, under a patch.

Runs that it has touched bear the mark of the patch, which the interpreter of the last version does not know.
"""

from __future__ import annotations

from temporalio import workflow

from playbooks.plan import ActionStep
from worker import main
from workflows.frame import Outcome
from workflows.machine import At
from workflows.steps import LEAVES

_last = LEAVES[ActionStep]


async def run_action(at: At) -> Outcome:
    """Waits for a moment, then does what the last version did."""
    if workflow.patched("next-version"):
        await workflow.sleep(0.01)
    return await _last(at)


if __name__ == "__main__":
    LEAVES[ActionStep] = run_action
    main()
