"""Everything that a worker counts, in one registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from activities.metrics import ActionMetrics
from engine.metrics import ExecutionMetrics, tell_process


class WorkerMetrics:
    """Our own metrics of a worker; ``engine.sdk_metrics`` adds those of Temporal's SDK."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.actions = ActionMetrics(self.registry)
        self.executions = ExecutionMetrics(self.registry)
        tell_process(self.registry)
