"""What a worker counts of the actions that it runs.  Labels are names of actions and outcomes, never ids."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from temporalio.exceptions import ApplicationError

Outcome = Literal["completed", "rehearsed", "failed", "timed_out", "outcome_unknown", "cancelled"]
UNKNOWN = "unknown"
"""Stands for every action that the worker does not have: whoever asks for them must not make labels."""

_OWN_OUTCOMES: dict[str | None, Outcome] = {"timed_out": "timed_out", "outcome_unknown": "outcome_unknown"}
SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(slots=True)
class Attempt:
    """One attempt of an action, under way; it counts as failed until it is told otherwise."""

    outcome: Outcome = "failed"


class ActionMetrics:
    """Attempts of actions, in ``registry``; without one they are counted, and nobody reads them."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._attempts = Counter(
            "stanchion_action_attempts",
            "Attempts of actions that ended on this worker: completed, rehearsed, failed, timed_out, outcome_unknown "
            "or cancelled.",
            ["action", "outcome"],
            registry=registry,
        )
        self._seconds = Histogram(
            "stanchion_action_attempt_seconds",
            "How long an attempt of an action lasted.",
            ["action"],
            registry=registry,
            buckets=SECONDS,
        )
        self._under_way = Gauge(
            "stanchion_actions_in_progress", "Attempts of actions that are under way on this worker.", registry=registry
        )

    @contextlib.contextmanager
    def attempt(self, action: str) -> Iterator[Attempt]:
        """Counts what happens within as one attempt of ``action``."""
        attempt, began = Attempt(), time.perf_counter()
        self._under_way.inc()
        try:
            yield attempt
        except asyncio.CancelledError:
            attempt.outcome = "cancelled"
            raise
        except ApplicationError as error:
            attempt.outcome = _OWN_OUTCOMES.get(error.type, "failed")
            raise
        finally:
            self._under_way.dec()
            self._attempts.labels(action, attempt.outcome).inc()
            self._seconds.labels(action).observe(time.perf_counter() - began)
