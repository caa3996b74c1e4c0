"""The compact form of step records: in the memo of a running workflow, and in the settled record.

A step is a short list, trailing defaults dropped.  The memo holds the steps in chunks, so that a change rewrites one
chunk only; the whole memo must stay far below 2 MiB, past which Temporal would leave the run stuck.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple

from playbooks.contract import MEMO_EXECUTION, RunInput
from playbooks.record import ErrorInfo, Json, LoopFailure, RunRecord, StepRecord, Tally, Waiting
from playbooks.states import State

CHUNK = 50
"""Steps in one memo field."""

MESSAGE_LIMIT = 300
"""Characters of an error message or reason that the memo carries; the settled record has it whole."""

MEMO_TEXT = 800_000
"""Bytes that all messages of a run may take in the memo, at most four a character; those of loops take as much."""

LEAST_TEXT = 20
"""Characters to which a message is cut at most."""

HEAD_FIELD = "run"
_LETTERS = {
    State.PENDING: "p",
    State.RUNNING: "r",
    State.COMPLETED: "c",
    State.FAILED: "f",
    State.SKIPPED: "s",
    State.CANCELLED: "x",
}
_STATES = {letter: state for state, letter in _LETTERS.items()}


def encode_step(step: StepRecord, limit: int | None = None) -> list[Json]:
    """The compact form of ``step``; texts longer than ``limit`` characters are cut."""
    row: list[Json] = [
        _LETTERS[step.state],
        step.started_at,
        step.finished_at,
        step.attempt,
        _error(step.error, limit) if step.error else None,
        _cut(step.reason, limit) if step.reason else None,
        [step.waiting_for.kind, step.waiting_for.until] if step.waiting_for else None,
        _tally(step.iterations),
        _tally(step.runs),
        _failures(step.failures, limit),
        int(step.kept),
        step.child,
    ]
    while len(row) > 1 and not row[-1]:
        row.pop()
    return row


def decode_step(row: Sequence[Json]) -> StepRecord:
    """The record that ``encode_step`` made ``row`` from."""
    padded = list(row) + [None] * (12 - len(row))
    state, started, finished, attempt, error, reason, waiting, iterations, runs, failures, kept, child = padded
    return StepRecord(
        state=_STATES[state],
        started_at=started,
        finished_at=finished,
        attempt=attempt or 0,
        error=ErrorInfo(*error) if error else None,
        reason=reason,
        waiting_for=Waiting(*waiting) if waiting else None,
        iterations=Tally(*iterations) if iterations else None,
        runs=Tally(*runs) if runs else None,
        failures=[LoopFailure(tuple(path), ErrorInfo(*told)) for path, *told in failures or []],
        kept=bool(kept),
        child=child,
    )


def chunk_field(number: int) -> str:
    """Name of the memo field that holds chunk ``number``."""
    return f"steps{number}"


def chunk_fields(steps: Sequence[StepRecord], numbers: Sequence[int] | None = None) -> dict[str, list[Json]]:
    """The memo fields of the chunks ``numbers``, or of all."""
    if numbers is None:
        numbers = range((len(steps) + CHUNK - 1) // CHUNK)
    limit = _message_limit(len(steps))
    return {
        chunk_field(number): [encode_step(step, limit) for step in steps[number * CHUNK : (number + 1) * CHUNK]]
        for number in numbers
    }


def read_chunks(memo: Mapping[str, Json]) -> list[StepRecord]:
    """The step records that the memo holds, in order."""
    steps: list[StepRecord] = []
    number = 0
    while (rows := memo.get(chunk_field(number))) is not None:
        steps.extend(decode_step(row) for row in rows)
        number += 1
    return steps


def memo_of(given: RunInput) -> dict[str, Json]:
    """The memo of a run that is about to start."""
    return run_memo(given.execution_id, RunRecord(first_steps(given)))


def first_steps(given: RunInput) -> list[StepRecord]:
    """The steps of a run that is about to start: pending, or kept from an earlier run."""
    steps = [StepRecord() for _ in given.plan.steps]
    if given.resume is not None:
        for index, row in (*given.resume.root.records.items(), *given.resume.rows.items()):
            steps[index] = decode_step(row)
    return steps


def run_memo(execution_id: str, record: RunRecord) -> dict[str, Json]:
    """The whole memo of a run."""
    return {MEMO_EXECUTION: execution_id, HEAD_FIELD: head(record), **chunk_fields(record.steps)}


def head(record: RunRecord) -> dict[str, Json]:
    """The memo field with the run's own record."""
    return {"state": record.state.value, "started_at": record.started_at}


def _message_limit(count: int) -> int:
    """Characters of a message in the memo of a run of ``count`` steps, so that it stays small when all have one."""
    return max(LEAST_TEXT, min(MESSAGE_LIMIT, MEMO_TEXT // (4 * max(1, count))))


def _error(error: ErrorInfo, limit: int | None) -> list[Json]:
    return [error.code, _cut(error.message, limit)]


def _failures(failures: Sequence[LoopFailure], limit: int | None) -> list[Json]:
    """All failures of a loop, or the first of them, whose messages share ``limit`` characters."""
    if limit is not None and failures:
        failures = failures[: max(1, limit // LEAST_TEXT)]
        limit = max(LEAST_TEXT, limit // len(failures))
    return [[list(failure.iteration), *_error(failure.error, limit)] for failure in failures]


def _tally(tally: Tally | None) -> list[Json] | None:
    return list(astuple(tally)) if tally else None


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"
