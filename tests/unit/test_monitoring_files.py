"""deploy/prometheus and deploy/grafana: the real promtool reads the alerts, Grafana's own schema the dashboard.

``tests/integration/test_metrics.py`` asks a real Prometheus every expression of them about real processes.
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from scripts import grafana_dashboard
from tests.compose import ROOT

RULES = ROOT / "deploy/prometheus/rules.yml"
PAGE = (ROOT / "docs/reference/metrics.md").read_text()
API, WORKER = 'job="stanchion-api",instance="a:8080"', 'job="stanchion-worker",instance="w:9464"'
SLOW = {
    'stanchion_http_request_seconds_bucket{le="1"}': "0x60",
    'stanchion_http_request_seconds_bucket{le="5"}': "0+10x60",
    'stanchion_http_request_seconds_bucket{le="+Inf"}': "0+10x60",
}
QUICK = dict.fromkeys(SLOW, "0+10x60")
WAITING = {
    'temporal_workflow_task_schedule_to_start_latency_seconds_bucket{le="1"}': "0x60",
    'temporal_workflow_task_schedule_to_start_latency_seconds_bucket{le="10"}': "0+10x60",
    'temporal_workflow_task_schedule_to_start_latency_seconds_bucket{le="+Inf"}': "0+10x60",
}
ENDED = 'stanchion_executions_ended_total{state="%s",dry_run="false",by="%s"}'
CASES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "StanchionApiDown": ({f"up{{{API}}}": "0x60"}, {f"up{{{API}}}": "1x60"}),
    "StanchionNoWorker": ({f"up{{{WORKER}}}": "0x60"}, {f"up{{{WORKER}}}": "1x60"}),
    "StanchionWorkerDown": ({f"up{{{WORKER}}}": "0x60"}, {f"up{{{WORKER}}}": "1x60"}),
    "StanchionApiErrors": (
        {
            'stanchion_http_requests_total{status="503"}': "0+10x60",
            'stanchion_http_requests_total{status="200"}': "0+90x60",
        },
        {
            'stanchion_http_requests_total{status="404"}': "0+10x60",
            'stanchion_http_requests_total{status="200"}': "0+90x60",
        },
    ),
    "StanchionApiSlow": (SLOW, QUICK),
    "StanchionExecutionsFail": (
        {ENDED % ("failed", "workflow"): "0+6x60", ENDED % ("completed", "workflow"): "0+4x60"},
        {ENDED % ("failed", "workflow"): "0+4x60", ENDED % ("completed", "workflow"): "0+6x60"},
    ),
    "StanchionExecutionsClosedOutside": (
        {ENDED % ("cancelled", "outside"): "0x50 1x10"},
        {ENDED % ("cancelled", "outside"): "0x60", ENDED % ("cancelled", "workflow"): "0+1x60"},
    ),
    "StanchionSweepStands": (
        {"stanchion_sweep_last_success_seconds": "0x60"},
        {
            'stanchion_sweep_last_success_seconds{instance="a"}': "0x60",
            'stanchion_sweep_last_success_seconds{instance="b"}': "0+60x60",
        },
    ),
    "StanchionRetentionStands": (
        {"stanchion_retention_last_success_seconds": "-14400x60"},
        {"stanchion_retention_last_success_seconds": "0x60"},
    ),
    "StanchionWorkflowTasksFail": (
        {"temporal_workflow_task_execution_failed_total": "0+1x60"},
        {"temporal_workflow_task_execution_failed_total": "5x60"},
    ),
    "StanchionWorkerFull": (
        {f'temporal_worker_task_slots_available{{{WORKER},worker_type="ActivityWorker"}}': "0x60"},
        {f'temporal_worker_task_slots_available{{{WORKER},worker_type="ActivityWorker"}}': "1x60"},
    ),
    "StanchionTasksWait": (WAITING, dict.fromkeys(WAITING, "0+10x60")),
    "StanchionTemporalFails": (
        {"temporal_request_failure_total": "0+20x60", "temporal_request_total": "0+80x60"},
        {"temporal_request_failure_total": "0+1x60", "temporal_request_total": "0+99x60"},
    ),
}


def rules() -> list[dict[str, Any]]:
    """The alerts of the file."""
    found: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    return found


def round_trip(document: dict[str, Any]) -> dict[str, Any]:
    """``document`` as Grafana's own types read and write it."""
    register_default_plugins()
    written: dict[str, Any] = json.loads(json.dumps(Dashboard.from_json(copy.deepcopy(document)), cls=JSONEncoder))
    return written


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """What of ``given`` is not in ``kept`` any more."""
    if isinstance(given, dict) and isinstance(kept, dict):
        gone = [f"{path}/{name}" for name in given if name not in kept]
        both = given.keys() & kept.keys()
        return gone + [fault for name in both for fault in lost(given[name], kept[name], f"{path}/{name}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [fault for at, pair in enumerate(zip(given, kept, strict=True)) for fault in lost(*pair, f"{path}/{at}")]
    return [] if given == kept else [path]


def test_the_dashboard_is_what_the_script_writes() -> None:
    """A panel that is added is in the file."""
    assert grafana_dashboard.FILE.read_text() == grafana_dashboard.text(), f"run: {grafana_dashboard.COMMAND}"


def test_grafana_knows_everything_in_the_dashboard() -> None:
    """Grafana's types, generated from its schema, read the file and lose nothing of it; no two panels overlap."""
    document = json.loads(grafana_dashboard.FILE.read_text())
    assert lost(document, round_trip(document)) == []
    cells = [
        (x, y)
        for panel in document["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])


@pytest.mark.parametrize("path", [("panels", 1, "gridPos", "wide"), ("panels", 1, "targets", 0, "query"), ("titel",)])
def test_grafana_would_tell(path: tuple[str | int, ...]) -> None:
    """What Grafana does not know is found: the test above can fail."""
    document = json.loads(grafana_dashboard.FILE.read_text())
    place: Any = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = "x"
    assert lost(document, round_trip(document)) == ["/" + "/".join(map(str, path))]


def test_every_expression_names_documented_metrics() -> None:
    """The dashboard and the alerts ask for nothing that the page of the metrics does not list."""
    documented = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    expressions = [*grafana_dashboard.expressions(), *(rule["expr"] for rule in rules())]
    named = {name for text in expressions for name in re.findall(r"\b(?:stanchion|temporal|process)_\w+", text)}
    assert len(named) > 25
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in named} <= documented


def test_prometheus_takes_its_files() -> None:
    """The real promtool finds the configuration and all alerts well formed."""
    done = subprocess.run(
        ["promtool", "check", "config", ROOT / "deploy/prometheus/prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout


def test_every_alert_has_a_case() -> None:
    """An alert that is added is tried, and each says what it means and what to do."""
    assert [rule["alert"] for rule in rules()] == list(CASES)
    assert all(set(rule["annotations"]) == {"summary", "action"} for rule in rules())


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    """The real promtool plays an hour of samples for each: what is wrong makes it fire, what is well does not."""
    tests = [
        {
            "name": f"{alert} {'fires' if fires else 'is silent'}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in samples.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})',
                    "eval_time": "55m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for alert, cases in CASES.items()
        for fires, samples in zip((True, False), cases, strict=True)
    ]
    file = tmp_path / "alerts.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
