"""The codes with which the engine itself ends a step or a run, beside those of actions (``activities.error_advice``).

Each is told with a sentence of its own in ``error.message``; here stands what an operator does about it.
"""

from __future__ import annotations

from collections.abc import Mapping

ENGINE_ERRORS: Mapping[str, str] = {
    "approval_timed_out": "Nobody decided within the step's `timeout`. Run it again, or give the step more time, or "
    "an `on_timeout`.",
    "cancelled": "It was cancelled: a sub-playbook on its own, an action from outside of the run, or a run whose "
    "start was not answered. See `cancelled` for who and why.",
    "conflict": "The sub-playbook runs on the asset already. Wait for that run, or say `on_conflict: wait`.",
    "expression_error": "An expression or a template failed on the values of this run; the message says where. Mend "
    "the playbook.",
    "failed": "The run failed, and no step told why.",
    "history_lost": "Temporal knows nothing of the run: it never got there, or Temporal's database is another one. "
    "Look at what its steps did, then run the playbook again.",
    "internal": "The engine has a fault, or the run was closed by somebody else as failed. The worker's log has the "
    "whole of it.",
    "max_iterations": "The expression of a `while` still held after its `max_iterations`.",
    "outcome_unknown": "The worker vanished in the middle of an action that must not be repeated, or the run was "
    "closed or lost while the step ran. Look at the other side whether it was done, then run the playbook again.",
    "rejected": "Somebody rejected the step; the message names who, and the comment.",
    "terminated": "The run, or the sub-playbook, was terminated in Temporal.",
    "timed_out": "The step, or the run, was not done in its time. Look at the other side; give the step a longer "
    "`timeout`, or the run longer `timeout_minutes`.",
    "too_many_items": "A `foreach` was given more items than a run may have steps. Give it fewer.",
    "too_many_iterations": "The loops of the run have more iterations together than a run may have. Split the work "
    "over more runs.",
    "validation_error": "The parameters that a sub-playbook was given are not what it takes; the message names each.",
    "worker_lost": "The worker of a step that still runs was lost, and another one is about to repeat it.",
}
