"""One module for each step type: a coroutine that runs the step and says how it ended.

To add a type: a model in ``playbooks/plan.py``, a module here, a line below.
"""

from __future__ import annotations

from playbooks.plan import (
    ActionStep,
    ApprovalStep,
    ConditionStep,
    DelayStep,
    ForeachStep,
    ParallelStep,
    PlaybookStep,
    WhileStep,
)
from workflows.machine import Runner
from workflows.steps.action import run_action
from workflows.steps.approval import run_approval
from workflows.steps.condition import run_condition
from workflows.steps.delay import run_delay
from workflows.steps.foreach import run_foreach
from workflows.steps.parallel import run_parallel
from workflows.steps.playbook import run_playbook
from workflows.steps.repeat import run_while

LEAVES: dict[type, Runner] = {
    ActionStep: run_action,
    ApprovalStep: run_approval,
    ConditionStep: run_condition,
    DelayStep: run_delay,
    PlaybookStep: run_playbook,
}
"""Steps that do one thing; a stop cancels them."""

BLOCKS: dict[type, Runner] = {
    ForeachStep: run_foreach,
    ParallelStep: run_parallel,
    WhileStep: run_while,
}
"""Steps that run other steps; a stop reaches what is inside of them."""
