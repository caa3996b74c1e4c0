"""What Temporal's SDK measures of a worker, as Prometheus metrics beside our own.

The SDK's exporter listens on a port of the loopback that nobody else knows; what it serves is read at each scrape.  Its
labels are thinned out on the way: with the workflow's type, each playbook would bring a hundred series of its own.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

DROPPED_LABELS = frozenset({"workflow_type", "service_name"})
OWN_QUEUES = "temporal-sys/"
"""Task queues that the SDK makes for itself: one for each process, under a new name each time."""

USEFUL = (
    "temporal_num_pollers",
    "temporal_worker_task_slots_available",
    "temporal_worker_task_slots_used",
    "temporal_sticky_cache_size",
    "temporal_workflow_task_schedule_to_start_latency_seconds",
    "temporal_activity_schedule_to_start_latency_seconds",
    "temporal_workflow_task_execution_latency_seconds",
    "temporal_workflow_task_replay_latency_seconds",
    "temporal_workflow_task_execution_failed_total",
    "temporal_request_total",
    "temporal_request_failure_total",
    "temporal_request_latency_seconds",
    "temporal_long_request_failure_total",
)
"""Those of the SDK that the page of the metrics names and the dashboard is made of; those of failures come with the
first."""

_TRIES = 20
_TIMEOUT_SECONDS = 5.0


class SdkMetrics(Collector):
    """A runtime that measures, for ``engine.client.connect``, and the collector of what it has measured."""

    def __init__(self) -> None:
        self.runtime, self._port = _measuring_runtime()

    def collect(self) -> Iterator[Metric]:
        """What the SDK has measured so far.  Raises OSError where its exporter does not answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        finally:
            connection.close()
        for family in text_string_to_metric_families(text):
            yield thinned(family)

    def describe(self) -> list[Metric]:
        """Nothing: a registry asks while the exporter has nothing to tell yet."""
        return []


def thinned(family: Metric) -> Metric:
    """``family`` without the labels that grow with the playbooks, the series that become one added up."""
    sums: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for sample in family.samples:
        if sample.labels.get("task_queue", "").startswith(OWN_QUEUES):
            continue
        labels = tuple((name, value) for name, value in sample.labels.items() if name not in DROPPED_LABELS)
        sums[sample.name, labels] = sums.get((sample.name, labels), 0.0) + sample.value
    kept = Metric(family.name, family.documentation, family.type)
    for (name, labels), value in sums.items():
        kept.add_sample(name, dict(labels), value)
    return kept


def _measuring_runtime() -> tuple[Runtime, int]:
    """A runtime with an exporter, and its port.  The exporter does not tell the port that port 0 has become."""
    for _ in range(_TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        exporter = PrometheusConfig(
            bind_address=f"127.0.0.1:{port}", counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
        )
        try:
            return Runtime(telemetry=TelemetryConfig(metrics=exporter)), port
        except ValueError:  # somebody took the port in between
            continue
    raise RuntimeError("no free port was found for the metrics of Temporal's SDK")
