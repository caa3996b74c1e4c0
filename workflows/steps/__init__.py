"""One module for each step type: a coroutine that runs the step and says how it ended.

To add a type: a model in ``playbooks/plan.py``, a module here, a line in ``RUNNERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from playbooks.plan import ActionStep, ConditionStep, DelayStep
from workflows.state import Outcome, RunState
from workflows.steps.action import run_action
from workflows.steps.condition import run_condition
from workflows.steps.delay import run_delay

Runner = Callable[[RunState, Any], Coroutine[Any, Any, Outcome]]

RUNNERS: dict[type, Runner] = {
    ActionStep: run_action,
    ConditionStep: run_condition,
    DelayStep: run_delay,
}
