"""Recording spans with OpenTelemetry, and sending them over OTLP. Imported only where traces are on; needs the extra `otel`.

The standard OTEL_ variables set the rest: sampling, headers, limits of the queue, attributes of the resource.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import Token

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from models.platform.settings import settings
from models.platform.tracing import LONGEST, Attributes, Kind, Span

CLOSE_SECONDS = 3.0  # a collector that does not answer must not delay the end of a process for longer
KINDS = {kind.name.lower(): kind for kind in SpanKind}
W3C = TraceContextTextMapPropagator()


class Recorder:
    def __init__(self, processor: SpanProcessor, process: str) -> None:
        # Not registered as the process's global provider: no other library records spans by itself.
        self.provider = TracerProvider(resource=_resource(process), shutdown_on_exit=False)
        self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("longshore", settings.app_version)

    @classmethod
    def of_settings(cls, process: str) -> "Recorder":
        """Sends spans from a thread (or greenlet) of its own. Its queue is bounded: what does not fit is dropped."""
        return cls(BatchSpanProcessor(OTLPSpanExporter()), process)

    def span(self, name: str, kind: Kind, within: str | None, attributes: Attributes | None) -> Span:
        parent = contexts.get_current() if within is None else _context_of(within)
        made = self.tracer.start_span(name, parent, KINDS[kind], _known(attributes or {}))
        return RecordedSpan(made, contexts.attach(trace.set_span_in_context(made, parent)))

    def current(self) -> str | None:
        carrier: dict[str, str] = {}
        W3C.inject(carrier)
        return carrier.get("traceparent")

    @contextmanager
    def hidden(self) -> Generator[None, None, None]:
        token = contexts.attach(Context())
        try:
            yield
        finally:
            contexts.detach(token)

    def close(self) -> None:
        thread = threading.Thread(target=self.provider.shutdown, name="traces-shutdown", daemon=True)
        thread.start()
        thread.join(CLOSE_SECONDS)


class RecordedSpan(Span):
    """It is current from the moment at which it is made."""

    def __init__(self, recorded: trace.Span, token: Token[Context]) -> None:
        self.recorded, self.token = recorded, token

    def rename(self, name: str) -> None:
        self.recorded.update_name(name)

    def set(self, attributes: Attributes) -> None:
        self.recorded.set_attributes(_known(attributes))

    def fail(self, error: str) -> None:
        self.recorded.set_attribute("error.type", error)
        self.recorded.set_status(StatusCode.ERROR)

    def end(self) -> None:
        contexts.detach(self.token)
        self.recorded.end()


def _context_of(traceparent: str) -> Context:
    """Empty unless it is a valid traceparent."""
    carrier = {"traceparent": traceparent} if len(traceparent) <= LONGEST else {}
    return W3C.extract(carrier, Context())


def _known(attributes: Attributes) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in attributes.items() if value is not None}


def _resource(process: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say comes first."""
    ours = {
        "service.name": f"{settings.app_name}-{process}",
        "service.namespace": settings.app_name,
        "service.version": settings.app_version,
        "deployment.environment.name": settings.environment,
    }
    return Resource.create(ours).merge(OTELResourceDetector().detect())
