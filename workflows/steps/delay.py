"""Step type ``delay``: waits, durably; a rehearsal does not wait and says so."""

from __future__ import annotations

from playbooks.plan import DelayStep
from playbooks.record import Waiting
from playbooks.states import State
from workflows.clock import now_ms
from workflows.frame import Outcome
from workflows.machine import At


async def run_delay(at: At) -> Outcome:
    """Waits ``step.duration`` seconds of Temporal's time."""
    step: DelayStep = at.step
    output = {"seconds": step.duration}
    if at.state.given.dry_run:
        return Outcome(State.COMPLETED, output, would=f"would wait {step.duration:g} s", effects=[])
    if step.duration > 0:
        waiting = at.frame.record(step.index).waiting_for
        if waiting is None:
            at.machine.gate()
            waiting = Waiting("delay", now_ms() + int(step.duration * 1000))
            at.state.waits(at.frame, step, waiting)
        await at.machine.pause(waiting.until, step.name)
    return Outcome(State.COMPLETED, output)
