"""The workflow's own time, which replays the same."""

from __future__ import annotations

from temporalio import workflow


def now_ms() -> int:
    """Workflow time in milliseconds since the epoch."""
    return int(workflow.time_ns() // 1_000_000)
