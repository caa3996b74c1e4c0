"""Prometheus metrics of the API.  Labels are routes, methods, statuses, states and actions, never ids."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from engine.metrics import ExecutionMetrics, tell_process

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

KINDS = ("idempotency_keys", "payloads", "executions", "audit_entries")
"""What retention deletes."""


class Metrics:
    """Metrics in a registry of their own, so that two applications in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "stanchion_http_requests", "Requests answered.", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "stanchion_http_request_seconds",
            "Time from a request to the end of its answer; event streams are left out.",
            ["route", "method"],
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        )
        self.in_progress = Gauge(
            "stanchion_http_requests_in_progress", "Requests that are being answered.", registry=self.registry
        )
        self._forgotten = Counter(
            "stanchion_retention_deleted", "What was deleted since it was old.", ["kind"], registry=self.registry
        )
        for kind in KINDS:
            self._forgotten.labels(kind)
        self.retention_at = Gauge(
            "stanchion_retention_last_success_seconds",
            "When retention last came to its end, in seconds since the epoch; 0: not yet.",
            registry=self.registry,
        )
        self.executions = ExecutionMetrics(self.registry)
        self.open = Gauge(
            "stanchion_executions_open",
            "Executions older than five seconds that had not closed at the last sweep; each API tells the same of all.",
            registry=self.registry,
        )
        self.swept_at = Gauge(
            "stanchion_sweep_last_success_seconds",
            "When the last sweep for executions closed behind our back came to its end, in seconds since the epoch; "
            "0: not yet.",
            registry=self.registry,
        )
        tell_process(self.registry)

    def observe(self, route: str, method: str, status: int, seconds: float | None) -> None:
        """Count one answer; ``seconds`` is None for an event stream."""
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(route, method).observe(seconds)

    def forgotten(self, kind: str, count: int) -> None:
        """Count what retention has deleted."""
        self._forgotten.labels(kind).inc(count)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
