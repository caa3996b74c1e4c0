"""The workflow's own time, which replays the same."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import workflow


def now_ms() -> int:
    """Workflow time in milliseconds since the epoch."""
    return int(workflow.time_ns() // 1_000_000)


def iso(at: int) -> str:
    """The time ``at`` (ms since the epoch) as RFC 3339 in UTC."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
