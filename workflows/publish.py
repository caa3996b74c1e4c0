"""Publishing the progress of a run: the memo, which the API reads, and the details, which the Web UI shows."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import workflow

from playbooks.progress import CHUNK, HEAD_FIELD, chunk_fields, head
from playbooks.record import StepRecord
from workflows.state import RunState

DETAIL_ROWS = 60
"""Steps that the Web UI's table shows; a longer run shows the part around the step at work."""


def flush(state: RunState) -> None:
    """Upserts the memo chunks that changed, all in one command.

    Called where the run is about to wait, so that the changes of one activation travel together and cost no round
    trip of their own.
    """
    changed = state.take_changes()
    if not changed:
        return
    chunks = sorted({index // CHUNK for index in changed})
    workflow.upsert_memo({HEAD_FIELD: head(state.record), **chunk_fields(state.record.steps, chunks)})
    workflow.set_current_details(step_table(state, changed[-1]))


def step_table(state: RunState, around: int) -> str:
    """A Markdown table of the steps near index ``around``, for the Web UI."""
    first = max(0, min(around - DETAIL_ROWS // 2, len(state.plan.steps) - DETAIL_ROWS))
    rows = ["| # | step | state | started | attempt | note |", "| --- | --- | --- | --- | --- | --- |"]
    for step in state.plan.steps[first : first + DETAIL_ROWS]:
        record = state.record.steps[step.index]
        started = _clock(record.started_at)
        note = record.error.message if record.error else record.reason or _counts(record)
        if record.waiting_for:
            note = f"waits for {record.waiting_for.kind}" + (f": {note}" if note else "")
        cells = [str(step.index), step.name, record.state.value, started, str(record.attempt or ""), note]
        rows.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(rows)


def _counts(record: StepRecord) -> str:
    tally = record.iterations or record.runs
    if tally is None:
        return ""
    of = "" if tally.total is None else f" of {tally.total}"
    return f"{tally.completed}{of} completed" + (f", {tally.failed} failed" if tally.failed else "")


def _clock(at: int | None) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%H:%M:%S") if at else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")[:120]
