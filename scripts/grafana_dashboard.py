"""Writes deploy/grafana/stanchion.json, the dashboard: ``python -m scripts.grafana_dashboard``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent.parent / "deploy" / "grafana" / "stanchion.json"
COMMAND = ".venv/bin/python -m scripts.grafana_dashboard"

SOURCE = {"type": "prometheus", "uid": "${source}"}
RATE = "[$__rate_interval]"
COLUMNS = 3
WIDTH = 24 // COLUMNS
HEIGHT = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph: each query with the legend of its lines; ``unit`` is one of Grafana's."""

    title: str
    about: str
    unit: str
    queries: tuple[tuple[str, str], ...]


def _quantile(share: str, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{RATE})))"


def _each_minute(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{where}{RATE})) * 60"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Executions": (
        Panel(
            "Open executions",
            "Not closed at the last sweep, those that wait for people among them.",
            "short",
            (("max(stanchion_executions_open)", "open"),),
        ),
        Panel(
            "Started",
            "A minute, by where they came from.",
            "short",
            ((_each_minute("stanchion_executions_started_total", "source"), "{{source}}"),),
        ),
        Panel(
            "Ended",
            "A minute, without rehearsals.",
            "short",
            ((_each_minute("stanchion_executions_ended_total", "state", '{dry_run="false"}'), "{{state}}"),),
        ),
        Panel(
            "Rehearsed",
            "Rehearsals that ended, a minute.",
            "short",
            ((_each_minute("stanchion_executions_ended_total", "state", '{dry_run="true"}'), "{{state}}"),),
        ),
        Panel(
            "How long executions last",
            "Waiting for approvals is part of it.",
            "s",
            (
                (_quantile("0.5", "stanchion_execution_seconds"), "half within"),
                (_quantile("0.95", "stanchion_execution_seconds"), "95 % within"),
            ),
        ),
        Panel(
            "Closed outside",
            "Terminated in Temporal, or lost by it, in the last hour.",
            "short",
            (('sum(increase(stanchion_executions_ended_total{by="outside"}[1h]))', "closed"),),
        ),
    ),
    "Actions": (
        Panel(
            "Attempts",
            "A minute, by outcome.",
            "short",
            ((_each_minute("stanchion_action_attempts_total", "outcome"), "{{outcome}}"),),
        ),
        Panel(
            "Failed steps",
            "A minute: the ten actions that fail most.",
            "short",
            (
                (
                    f'topk(10, {_each_minute("stanchion_steps_ended_total", "action", """{state="failed"}""")})',
                    "{{action}}",
                ),
            ),
        ),
        Panel(
            "How long an attempt lasts",
            "95 % are done within this.",
            "s",
            ((_quantile("0.95", "stanchion_action_attempt_seconds", "action"), "{{action}}"),),
        ),
        Panel(
            "How long a step lasts",
            "95 % are done within this, all attempts and the pauses between them included.",
            "s",
            ((_quantile("0.95", "stanchion_step_seconds", "action"), "{{action}}"),),
        ),
        Panel(
            "Under way",
            "Attempts at this moment.",
            "short",
            (("sum by (instance) (stanchion_actions_in_progress)", "{{instance}}"),),
        ),
    ),
    "API": (
        Panel(
            "Requests",
            "A second, by status.",
            "reqps",
            ((f"sum by (status) (rate(stanchion_http_requests_total{RATE}))", "{{status}}"),),
        ),
        Panel(
            "Answer times",
            "Event streams are left out.",
            "s",
            tuple(
                (_quantile(share, "stanchion_http_request_seconds"), name)
                for share, name in (("0.5", "half within"), ("0.95", "95 % within"), ("0.99", "99 % within"))
            ),
        ),
        Panel(
            "Being answered",
            "Requests at this moment.",
            "short",
            (("sum by (instance) (stanchion_http_requests_in_progress)", "{{instance}}"),),
        ),
        Panel(
            "Since the last sweep",
            "Also since old things were last deleted.",
            "s",
            (
                ("time() - max(stanchion_sweep_last_success_seconds)", "sweep"),
                ("time() - max(stanchion_retention_last_success_seconds)", "retention"),
            ),
        ),
        Panel(
            "Deleted for its age",
            "In the last day.",
            "short",
            (("sum by (kind) (increase(stanchion_retention_deleted_total[1d]))", "{{kind}}"),),
        ),
    ),
    "Workers and Temporal": (
        Panel(
            "Free places",
            "What the workers could take on besides.",
            "short",
            (("sum by (worker_type) (temporal_worker_task_slots_available)", "{{worker_type}}"),),
        ),
        Panel(
            "Taken places",
            "What the workers are at.",
            "short",
            (("sum by (worker_type) (temporal_worker_task_slots_used)", "{{worker_type}}"),),
        ),
        Panel(
            "Waiting for a worker",
            "95 % of the tasks are taken within this.",
            "s",
            (
                (_quantile("0.95", "temporal_workflow_task_schedule_to_start_latency_seconds"), "executions"),
                (_quantile("0.95", "temporal_activity_schedule_to_start_latency_seconds"), "actions"),
            ),
        ),
        Panel(
            "A turn of an execution",
            "95 % are done within this; replaying is part of it.",
            "s",
            (
                (_quantile("0.95", "temporal_workflow_task_execution_latency_seconds"), "turn"),
                (_quantile("0.95", "temporal_workflow_task_replay_latency_seconds"), "replay"),
            ),
        ),
        Panel(
            "Failures",
            "A minute: refused or unanswered calls of Temporal, and executions that a worker cannot go on with.",
            "short",
            (
                (_each_minute("temporal_request_failure_total", "operation"), "{{operation}}"),
                (_each_minute("temporal_long_request_failure_total", "operation"), "{{operation}}"),
                (_each_minute("temporal_workflow_task_execution_failed_total", "failure_reason"), "{{failure_reason}}"),
            ),
        ),
        Panel(
            "Calls of Temporal",
            "A second, and how long 95 % of them take at most.",
            "short",
            (
                (f"sum(rate(temporal_request_total{RATE}))", "calls"),
                (_quantile("0.95", "temporal_request_latency_seconds"), "seconds"),
            ),
        ),
        Panel(
            "Kept in memory",
            "Executions that need no replay when they go on.",
            "short",
            (("sum by (instance) (temporal_sticky_cache_size)", "{{instance}}"),),
        ),
        Panel(
            "Polls",
            "Places at which workers wait for work.",
            "short",
            (("sum by (poller_type) (temporal_num_pollers)", "{{poller_type}}"),),
        ),
    ),
    "Processes": (
        Panel("Up", "1 where Prometheus reaches it.", "short", (("up", "{{job}} {{instance}}"),)),
        Panel("Memory", "Held by each process.", "bytes", (("process_resident_memory_bytes", "{{job}} {{instance}}"),)),
        Panel(
            "CPU",
            "Cores that each process uses.",
            "short",
            ((f"rate(process_cpu_seconds_total{RATE})", "{{job}} {{instance}}"),),
        ),
        Panel("Open files", "Of each process.", "short", (("process_open_fds", "{{job}} {{instance}}"),)),
        Panel(
            "Versions",
            "How many processes run each.",
            "short",
            (("count by (version) (stanchion_build_info)", "{{version}}"),),
        ),
    ),
}


def dashboard() -> dict[str, Any]:
    """The whole dashboard, as Grafana imports it."""
    return {
        "uid": "stanchion",
        "title": "Stanchion",
        "description": "Executions, actions, API and workers of Stanchion.",
        "tags": ["stanchion"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {
                    "type": "datasource",
                    "name": "source",
                    "label": "Prometheus",
                    "query": "prometheus",
                    "skipUrlSync": False,
                    "includeAll": False,
                    "multi": False,
                }
            ]
        },
        "panels": _panels(),
    }


def expressions() -> list[str]:
    """Every query of the dashboard."""
    return [query for panels in ROWS.values() for panel in panels for query, _ in panel.queries]


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS.items():
        at = {"h": 1, "w": 24, "x": 0, "y": top}
        found.append(
            {"type": "row", "title": title, "collapsed": False, "id": len(found) + 1, "gridPos": at, "panels": []}
        )
        for number, panel in enumerate(panels):
            row, column = divmod(number, COLUMNS)
            at = {"h": HEIGHT, "w": WIDTH, "x": column * WIDTH, "y": top + 1 + row * HEIGHT}
            found.append(_panel(panel, len(found) + 1, at))
        top += 1 + -(-len(panels) // COLUMNS) * HEIGHT
    return found


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"datasource": SOURCE, "expr": query, "legendFormat": legend, "refId": chr(ord("A") + index)}
        for index, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "id": number,
        "gridPos": at,
        "datasource": SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
