"""Recorded spans: of this process, and of others through a small collector that speaks OTLP over HTTP."""

import contextlib
import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
INVALID = {
    "garbage": "not a traceparent",
    "empty": "",
    "zeros": f"00-{'0' * 32}-{PARENT}-01",
    "no span": f"00-{TRACE}-{'0' * 16}-01",
    "short": TRACEPARENT[:-1],
    "capitals": TRACEPARENT.upper(),
    "forbidden version": f"ff{TRACEPARENT[2:]}",
    "more of version 00": f"{TRACEPARENT}-more",
    "several": f"{TRACEPARENT},{TRACEPARENT}",
    "not ascii": f"00-{'٣' * 32}-{PARENT}-01",
    "10 kB": f"01{TRACEPARENT[2:]}-{'a' * 10_000}",
}


class Recorded:
    """The spans of this process, in the order in which they ended."""

    def __init__(self):
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from models.platform.span_recorder import Recorder

        self.exporter = InMemorySpanExporter()
        self.recorder = Recorder(SimpleSpanProcessor(self.exporter), "test")

    @property
    def all(self):
        return list(self.exporter.get_finished_spans())

    def named(self, start):
        return [span for span in self.all if span.name.startswith(start)]

    def one(self, start):
        (span,) = self.named(start)
        return span

    @property
    def text(self):
        """Everything that is recorded, as one text."""
        return "\n".join(span.to_json() for span in self.all)


def trace_of(span):
    return f"{span.context.trace_id:032x}"


def id_of(span):
    return f"{span.context.span_id:016x}"


def parent_of(span):
    return f"{span.parent.span_id:016x}" if span.parent else None


class Received:
    """A span as it came over the wire."""

    def __init__(self, service, span):
        self.service, self.name = service, span.name
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        values = {item.key: item.value for item in span.attributes}
        self.attributes = {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}

    def __repr__(self):
        return f"{self.service} {self.name} {self.attributes}"


class Collector:
    def __init__(self):
        self.spans, self.requests, self.headers = [], 0, None
        received = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                received.headers = dict(self.headers)
                received.add(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def add(self, request):
        self.requests += 1
        for resource in request.resource_spans:
            names = {item.key: item.value.string_value for item in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [Received(names["service.name"], span) for span in scope.spans]

    def of(self, trace, start=""):
        return [span for span in list(self.spans) if span.trace == trace and span.name.startswith(start)]


@contextlib.contextmanager
def collector():
    """A collector that listens on this machine until the block ends."""
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        thread.join()
        made.server.server_close()
