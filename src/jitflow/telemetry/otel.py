"""Spans as OpenTelemetry's SDK sends them. Only who is told to trace imports this; it needs `jitflow[otel]`."""

import os
import threading
from collections.abc import Mapping
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jitflow.telemetry.traces import PARENT_HEADER, Place, place_of

SpanKind = trace.SpanKind
ROUTE = "jitflow.route"
"""Where a request's scope holds the pattern of its path, if it has one."""
_LEAVING_S = 3.0
"""So long the last spans may take to leave when the server stops."""
_SERVER_ERROR = 500
_UNTRACED = frozenset({"/livez", "/readyz", "/healthz", "/health", "/metrics"})
_ids: ContextVar[tuple[int, int] | None] = ContextVar("jitflow_span_ids", default=None)
_request: ContextVar["_Request | None"] = ContextVar("jitflow_request", default=None)


class _Ids(RandomIdGenerator):
    """Gives the ids that were decided on, else random ones."""

    def generate_trace_id(self) -> int:
        wanted = _ids.get()
        return wanted[0] if wanted else super().generate_trace_id()

    def generate_span_id(self) -> int:
        wanted = _ids.get()
        return wanted[1] if wanted else super().generate_span_id()


class _Request:
    """A request under way. Tasks that it has begun may go on when it has been answered."""

    def __init__(self, span: trace.Span) -> None:
        self.span = span
        self.answered = False


class Spans:
    """Sends spans in the background; what a collector does not take in time is lost, and nothing waits for it."""

    CLIENT = SpanKind.CLIENT

    def __init__(self, endpoint: str, version: str) -> None:
        """Send to an OTLP/HTTP collector: the base address, without `/v1/traces`; empty: where `OTEL_…` variables say.

        Raises:
            ValueError: a variable of OpenTelemetry cannot be used.
        """
        self._exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)
        about = {SERVICE_VERSION: version}
        if not os.environ.get("OTEL_SERVICE_NAME") and "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            about[SERVICE_NAME] = "jitflow"
        self._provider = TracerProvider(resource=Resource.create(about), id_generator=_Ids(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("jitflow", version)

    def close(self) -> None:
        """Send what is left, for a short time. Blocks."""
        # The library would go on for half a minute with a collector that is away.
        too_late = threading.Timer(_LEAVING_S, self._exporter.shutdown)
        too_late.start()
        self._provider.shutdown()
        too_late.cancel()

    def is_sampled(self, trace_id: int) -> bool:
        """Return whether a trace that begins here is told."""
        return self._provider.sampler.should_sample(None, trace_id, "workflow").decision.is_sampled()

    def tell(
        self,
        name: str,
        at: Place,
        parent: Place | None,
        lasted: tuple[float, float],
        attributes: Mapping[str, str | int],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        error: str = "",
    ) -> None:
        """Tell of what has ended; `lasted`: from when to when, in seconds since the epoch. Without a parent a trace begins."""
        began, ended = lasted
        token = _ids.set((at.trace_id, at.span_id))
        try:
            context = Context() if parent is None else _below(parent)
            span = self._tracer.start_span(name, context, kind, attributes, start_time=_ns(began))
            if error:
                span.set_status(trace.Status(trace.StatusCode.ERROR, error))
            span.end(_ns(max(began, ended)))
        finally:
            _ids.reset(token)

    def here(self) -> Place | None:
        """Return the span of the request that is being answered, None if none is."""
        request = _request.get()
        if request is None or request.answered:
            return None
        context = request.span.get_span_context()
        return Place(context.trace_id, context.span_id, context.trace_flags.sampled)

    def around(self, app: ASGIApp, quiet: str = "") -> ASGIApp:
        """Return an application that tells of each request, as part of the trace that its sender names.

        `quiet`: below this path only of those that are part of one.
        """

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["path"] in _UNTRACED:
                await app(scope, receive, send)
                return
            sent = next((value for name, value in scope["headers"] if name == PARENT_HEADER), b"")
            parent = place_of(sent.decode("latin-1"))
            if quiet and parent is None and scope["path"].startswith(quiet):
                await app(scope, receive, send)
                return
            context = Context() if parent is None else _below(parent)
            about = {"http.request.method": scope["method"], "url.path": scope["path"]}
            span = self._tracer.start_span(scope["method"], context, SpanKind.SERVER, about)

            async def told(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _SERVER_ERROR:
                        span.set_status(trace.Status(trace.StatusCode.ERROR))
                await send(message)

            request = _Request(span)
            token = _request.set(request)
            try:
                await app(scope, receive, told)
            finally:
                request.answered = True
                _request.reset(token)
                if route := scope.get(ROUTE):
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
                span.end()

        return traced


def _below(parent: Place) -> Context:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if parent.sampled else trace.TraceFlags.DEFAULT)
    context = trace.SpanContext(parent.trace_id, parent.span_id, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(context), Context())


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
