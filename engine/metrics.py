"""What API and worker count of executions and their steps.  Labels are states, sources and actions, never ids.

Each process counts what it has done itself: an execution is counted by the one that closed it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from playbooks.record import StepRecord
from playbooks.states import State

SECONDS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)
CAUSES = ("workflow", "outside")
ENDINGS = ("completed", "failed", "cancelled")


class ExecutionMetrics:
    """Executions, in ``registry``; without one they are counted, and nobody reads them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._started = Counter(
            "stanchion_executions_started",
            "Executions that Temporal has accepted from this process, by where they came from; sub-playbooks, which "
            "workflows start, are not among them.",
            ["source"],
            registry=registry,
        )
        self._ended = Counter(
            "stanchion_executions_ended",
            "Executions that this process has closed: by their workflow's last act, or outside of it, where Temporal "
            "closed or lost them.",
            ["state", "dry_run", "by"],
            registry=registry,
        )
        # From the start, so that the first of them is an increase.
        for values in itertools.product(ENDINGS, ("false", "true"), CAUSES):
            self._ended.labels(*values)
        self._seconds = Histogram(
            "stanchion_execution_seconds",
            "How long an execution lasted, from its first step to its end; waiting for people is part of it.",
            ["state"],
            registry=registry,
            buckets=SECONDS,
        )
        self._steps = Counter(
            "stanchion_steps_ended",
            "Steps of closed executions by their final state; a step inside of a loop once for each pass. The label "
            "action is the action, or the type of a step that has none.",
            ["action", "state"],
            registry=registry,
        )
        self._step_seconds = Histogram(
            "stanchion_step_seconds",
            "How long a step lasted that ran, with its attempts and the pauses between them.",
            ["action"],
            registry=registry,
            buckets=SECONDS,
        )

    def started(self, source: str) -> None:
        """Counts an execution that Temporal has accepted."""
        self._started.labels(source).inc()

    def ended(self, state: State, *, dry_run: bool, by_workflow: bool, milliseconds: int | None) -> None:
        """Counts an execution that has closed; ``milliseconds`` is None where it never began."""
        self._ended.labels(state.value, str(dry_run).lower(), CAUSES[0 if by_workflow else 1]).inc()
        if milliseconds is not None:
            self._seconds.labels(state.value).observe(max(milliseconds, 0) / 1000)

    def steps(self, actions: Iterable[str], records: Sequence[StepRecord]) -> None:
        """Counts the steps of an execution that has closed, but for those that an earlier execution has done."""
        for action, record in zip(actions, records, strict=True):
            if record.kept:
                continue
            for state, count in _endings(record):
                self._steps.labels(action, state.value).inc(count)
            if record.started_at is not None and record.finished_at is not None:
                self._step_seconds.labels(action).observe(max(record.finished_at - record.started_at, 0) / 1000)


def _endings(record: StepRecord) -> list[tuple[State, int]]:
    if record.runs is None:
        return [(record.state, 1)]
    found = [(state, getattr(record.runs, state.value)) for state in State if state.is_final]
    return [(state, count) for state, count in found if count]


def tell_process(registry: CollectorRegistry) -> None:
    """Adds which version runs, and what the operating system knows of the process."""
    build = Gauge("stanchion_build_info", "The version that runs.", ["version"], registry=registry)
    build.labels(installed_version()).set(1)
    ProcessCollector(registry=registry)


def installed_version() -> str:
    """The version of the installed package; ``0`` when it runs from a bare source tree."""
    try:
        return version("stanchion")
    except PackageNotFoundError:
        return "0"
