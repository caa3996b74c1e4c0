"""Traces and logs of a run, as an operator gets them: real processes, and a receiver that speaks OTLP over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.house import house

CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
STEPS: list[dict[str, Any]] = [
    {"id": "quick", "name": "Quick", "type": "action", "action_ref": "core.echo"},
    {"id": "bad", "name": "Bad", "type": "action", "action_ref": "core.fail", "parameters": {"message": "on purpose"}},
]


@contextmanager
def receiver() -> Iterator[tuple[str, list[tuple[str, Span]]]]:
    """An OTLP receiver; its URL, and the spans that it has been sent, each with its service."""
    spans: list[tuple[str, Span]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
                for scope in resource.scope_spans:
                    spans.extend((names["service.name"], span) for span in scope.spans)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def start(site: Any) -> dict[str, Any]:
    """Runs the steps under a trace of the caller's own; the execution once it has ended."""
    playbook = await site.post("/api/playbooks", {"name": "Traced", "steps": STEPS}, 201)
    asset = await site.post("/api/assets", {"name": "web-01", "type": "host"}, 201)
    async with site.http as http:
        answer = await http.post(
            f"/api/playbooks/{playbook['id']}/run",
            json={"target_asset_id": asset["id"]},
            headers={"traceparent": f"00-{CALLER}-00f067aa0ba902b7-01"},
        )
    assert answer.status_code == 202, answer.text
    ended: dict[str, Any] = await site.finish(answer.json()["execution_id"])
    return {**ended, "playbook": playbook["id"], "asset": asset["id"]}


async def test_a_run_is_one_trace(tmp_path: Path) -> None:
    """Request, start, workflow and each activity are spans of the caller's trace, each under the one that caused it;
    every line of the run in the logs of API and worker names execution, playbook, asset, step and trace."""
    with receiver() as (url, received):
        async with house(tmp_path, extra={"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as site:
            run = await start(site)
            for name in ("worker", "api"):
                site.terminate(name)
    found = [(service, span) for service, span in received if span.trace_id.hex() == CALLER]
    spans = {span.name: span for _, span in found}
    by_id = {span.span_id: span for _, span in found}
    assert {service for service, _ in found} == {"stanchion-api", "stanchion-worker"}
    wanted = [
        "POST /api/playbooks/{playbook_id}/run",
        "StartWorkflow:traced",
        "RunWorkflow:traced",
        "RunActivity:core.echo",
        "RunActivity:core.fail",
    ]
    assert set(wanted) <= set(spans), sorted(spans)
    assert spans[wanted[0]].parent_span_id.hex() == "00f067aa0ba902b7"
    assert spans[wanted[1]].parent_span_id == spans[wanted[0]].span_id
    for name in wanted[2:]:
        above = spans[name]
        while above.parent_span_id in by_id and above.name != wanted[1]:
            above = by_id[above.parent_span_id]
        assert above.name == wanted[1]
    for log, expected in (("worker", {"quick", "bad"}), ("api", {None})):
        lines = [line for line in logged(tmp_path / f"{log}.log") if line.get("trace_id") == CALLER]
        assert {line.get("step_id") for line in lines} >= expected
        for line in lines:
            if log == "api" or "step_id" in line:
                assert (line["execution_id"], line["playbook_id"], line["asset_id"]) == (
                    run["execution_id"],
                    run["playbook"],
                    run["asset"],
                )


async def test_without_a_collector_nothing_is_traced(tmp_path: Path) -> None:
    """Logs say what they belong to without traces, too, and no process loads OpenTelemetry's SDK."""
    async with house(tmp_path, extra={"PYTHONPROFILEIMPORTTIME": "1"}) as site:
        run = await start(site)
    for name in ("worker", "api"):
        imported = (tmp_path / f"{name}.log").read_text()
        assert "temporalio.client" in imported
        assert "opentelemetry.sdk" not in imported
    lines = logged(tmp_path / "worker.log")
    assert {line["step_id"] for line in lines if line.get("execution_id") == run["execution_id"]} >= {"quick", "bad"}
    assert not any("trace_id" in line for line in [*lines, *logged(tmp_path / "api.log")])


async def test_lines_of_activities_that_are_no_steps(tmp_path: Path) -> None:
    """What cannot be written, since the database is locked, is told with the run that it belongs to."""
    nap = {"id": "nap", "action_ref": "core.sleep", "parameters": {"seconds": 2}}
    wanted = {"stanchion.settle", "stanchion.open_child"}
    async with house(tmp_path) as site:
        child = await site.post("/api/playbooks", {"name": "Inner", "steps": [STEPS[0]]}, 201)
        asset = await site.post("/api/assets", {"name": "web-01", "type": "host"}, 201)
        started = {}
        for name, steps in (("Alone", [nap]), ("Outer", [nap, {"type": "playbook", "playbook": child["slug"]}])):
            playbook = await site.post("/api/playbooks", {"name": name, "steps": steps}, 201)
            body = {"target_asset_id": asset["id"]}
            answer = await site.post(f"/api/playbooks/{playbook['id']}/run", body, 202)
            started[answer["execution_id"]] = playbook["id"]
        with sqlite3.connect(tmp_path / "stanchion.sqlite", isolation_level=None, timeout=60) as database:
            database.execute("BEGIN IMMEDIATE")
            async with asyncio.timeout(90):
                while not wanted <= {line.get("activity") for line in failures(tmp_path)}:
                    await asyncio.sleep(0.2)
            database.execute("ROLLBACK")
        for execution in started:
            assert (await site.finish(execution))["status"] == "completed"
    for line in failures(tmp_path):
        assert line["playbook_id"] == started[line["execution_id"]]
        assert line["asset_id"] == asset["id"]


def failures(folder: Path) -> list[dict[str, Any]]:
    """The lines of a worker's log about activities that are no steps and have failed, with their ``activity``."""
    found = []
    for line in logged(folder / "worker.log"):
        kind = re.search(r"stanchion\.(settle|open_child)", json.dumps(line))
        if kind:
            found.append({**line, "activity": kind.group()})
    return found


def logged(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that are JSON."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
