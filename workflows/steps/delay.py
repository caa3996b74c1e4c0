"""Step type ``delay``: waits, durably; a rehearsal does not wait and says so."""

from __future__ import annotations

from temporalio import workflow

from playbooks.plan import DelayStep
from playbooks.record import Waiting
from playbooks.states import State
from workflows.clock import now_ms
from workflows.publish import flush
from workflows.state import Outcome, RunState


async def run_delay(state: RunState, step: DelayStep) -> Outcome:
    """Waits ``step.duration`` seconds of Temporal's time."""
    output = {"seconds": step.duration}
    if state.given.dry_run:
        return Outcome(State.COMPLETED, output, would=f"would wait {step.duration:g} s", effects=[])
    if step.duration > 0:
        state.waits(step, Waiting("delay", now_ms() + int(step.duration * 1000)))
        flush(state)
        await workflow.sleep(step.duration, summary=step.name)
    return Outcome(State.COMPLETED, output)
