"""docs/reference/metrics.md from the registry of the metrics."""

from __future__ import annotations

from prometheus_client.metrics import MetricWrapperBase

from api.metrics import Metrics
from scripts.reference import MADE, cell

HEAD = f"""\
# Metrics

{MADE.format(source="the registry of the metrics")}

Each API serves its own at `/metrics`, without a token, in Prometheus' text format. Labels are routes, methods and
statuses, never ids. Counters are since the process started.

| metric | type | labels | what it is |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_row(one) for one in _collectors())


def _collectors() -> list[MetricWrapperBase]:
    known = Metrics().registry._collector_to_names
    return [one for one in known if isinstance(one, MetricWrapperBase)]


def _row(metric: MetricWrapperBase) -> str:
    (described,) = metric.describe()
    name = f"{described.name}_total" if described.type == "counter" else described.name
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"| `{name}` | {described.type} | {labels} | {cell(described.documentation)} |\n"
