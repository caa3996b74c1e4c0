"""Traces by OpenTelemetry: one for a run, from the HTTP request through the workflow to each activity.

They are sent by OTLP over HTTP (protobuf) when OpenTelemetry's own variables name a collector; otherwise nothing of
OpenTelemetry is even imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""https://opentelemetry.io/docs/specs/otel/protocol/exporter/"""

_HEADER = "_tracer-data"
_active: Tracing | None = None


class TracingUnavailable(Exception):
    """A collector is named, but the extra ``traces`` is not installed."""


class Tracing:
    """The spans of this process on their way to the collector that the variables of the environment name."""

    def __init__(self, service: str) -> None:
        try:
            exporters = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
            sdk = import_module("opentelemetry.sdk.trace")
            export = import_module("opentelemetry.sdk.trace.export")
            resources = import_module("opentelemetry.sdk.resources")
            contrib = import_module("temporalio.contrib.opentelemetry")
        except ModuleNotFoundError as error:
            raise TracingUnavailable(
                f"{ENDPOINTS[1]} is set, but {error.name} is missing: install stanchion with the extra 'traces'."
            ) from error
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES of the environment win, as the specification says.
        resource = resources.Resource({"service.name": service}).merge(resources.OTELResourceDetector().detect())
        # Ended by stop(): a hook at the exit would wait for a collector that is away.
        self._provider: Any = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(export.BatchSpanProcessor(exporters.OTLPSpanExporter()))
        self._tracer: Any = self._provider.get_tracer("stanchion")
        self._api: Any = import_module("opentelemetry.trace")
        self.interceptor: Any = contrib.TracingInterceptor(self._tracer)

    def stop(self) -> None:
        """Sends what is left, and ends."""
        self._provider.shutdown()

    @contextlib.contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Any]:
        """A span for one HTTP request, under the caller's ``traceparent`` where it sends one (W3C Trace Context)."""
        context = self.interceptor.text_map_propagator.extract(headers)
        kind = self._api.SpanKind.SERVER
        with self._tracer.start_as_current_span(method, context, kind, {"http.request.method": method}) as span:
            yield span

    @contextlib.contextmanager
    def starting(self, workflow_type: str, execution_id: str) -> Iterator[Mapping[str, Any]]:
        """A span for the start of a workflow; the headers that carry it into the workflow."""
        name = f"StartWorkflow:{workflow_type}"
        attributes = {"stanchion.execution_id": execution_id}
        with self._tracer.start_as_current_span(name, None, self._api.SpanKind.CLIENT, attributes):
            carrier: dict[str, str] = {}
            self.interceptor.text_map_propagator.inject(carrier)
            yield {_HEADER: self.interceptor.payload_converter.to_payloads([carrier])[0]}

    def trace_id(self) -> str | None:
        """The id of the trace that this task works for, in hexadecimal; None outside of every trace."""
        context = self._api.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None


def start_tracing(service: str, environment: Mapping[str, str]) -> Tracing | None:
    """Begins to trace this process as ``service`` when ``environment`` names a collector.

    Raises TracingUnavailable where the extra is missing.
    """
    global _active
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if _active is None and not disabled and any(environment.get(name) for name in ENDPOINTS):
        _active = Tracing(service)
    return _active


def stop_tracing() -> None:
    """Sends what is left and ends tracing, where it was begun."""
    global _active
    if _active is not None:
        _active.stop()
        _active = None


def tracing() -> Tracing | None:
    """What traces this process; None where nothing does."""
    return _active


def trace_id() -> str | None:
    """The id of the current trace; None where there is none."""
    return None if _active is None else _active.trace_id()
