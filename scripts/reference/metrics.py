"""docs/reference/metrics.md from the registries of the metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.metrics import MetricWrapperBase

from api.metrics import Metrics
from engine.sdk_metrics import DROPPED_LABELS, USEFUL
from engine.worker_metrics import WorkerMetrics
from scripts.reference import MADE, cell

HEAD = f"""\
# Metrics

{MADE.format(source="the registries of the metrics")}

Each API serves its own at `/metrics`, without a token; each worker its own at `/metrics` of the address in
`STANCHION_WORKER_ADDRESS`, which is not set by default, beside `/healthz` and `/readyz`. Both are in Prometheus' text
format. Labels are routes, methods, statuses, states, sources and actions, never ids and never playbooks, so their
number does not grow with use. Counters are since the process started. [Alerts and a dashboard](../monitoring.md) are
made of them.

## Ours

| metric | type | labels | served by | what it is |
| --- | --- | --- | --- | --- |
"""

PROCESS = """
## The process

API and worker also tell what the operating system knows of them, on Linux:

| metric | type | what it is |
| --- | --- | --- |
"""

SDK = f"""
## Temporal's SDK

A worker serves what [Temporal's SDK](https://docs.temporal.io/references/sdk-metrics) measures of it as well. Its
labels {" and ".join(f"`{label}`" for label in sorted(DROPPED_LABELS))} are left out and the series added up: with
them each playbook would bring series of its own. Most useful are these, of which those that count failures are there
from the first failure on:

| metric |
| --- |
"""


def page() -> str:
    """The whole page."""
    rows = "".join(_row(metric, served_by) for metric, served_by in own_metrics())
    process = "".join(
        f"| `{_name(family)}` | {family.type} | {cell(family.documentation)} |\n" for family in process_metrics()
    )
    return HEAD + rows + PROCESS + process + SDK + "".join(f"| `{name}` |\n" for name in USEFUL)


def own_metrics() -> list[tuple[MetricWrapperBase, str]]:
    """Each metric of ours, and who serves it."""
    by_api, by_worker = _collectors(Metrics().registry), _collectors(WorkerMetrics().registry)
    found = [(metric, "API, worker" if name in by_worker else "API") for name, metric in by_api.items()]
    return found + [(metric, "worker") for name, metric in by_worker.items() if name not in by_api]


def process_metrics() -> list[Metric]:
    """What the operating system knows of a process."""
    return list(ProcessCollector(registry=None).collect())


def _collectors(registry: CollectorRegistry) -> dict[str, MetricWrapperBase]:
    known = registry._collector_to_names
    return {one.describe()[0].name: one for one in known if isinstance(one, MetricWrapperBase)}


def _row(metric: MetricWrapperBase, served_by: str) -> str:
    (described,) = metric.describe()
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    documentation = cell(described.documentation)
    return f"| `{_name(described)}` | {described.type} | {labels} | {served_by} | {documentation} |\n"


def _name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name
