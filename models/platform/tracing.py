"""Traces. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set: then nothing of OpenTelemetry is imported, and a span is one call.

A span is the current one of its thread or greenlet until its block ends. What crosses processes, threads and services is a
traceparent, the text that the W3C defines: version, trace id, span id and flags, 55 characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Self

from models.platform.settings import settings

if TYPE_CHECKING:
    from models.platform.span_recorder import Recorder

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Attributes = Mapping[str, str | int | float | bool | None]  # those that are None are left out
LONGEST = 512  # characters of a traceparent; others are ignored
_recorder: Recorder | None = None


class Span:
    """A span that nobody records, and what can be done with any span."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is not None and kind is not GeneratorExit and getattr(error, "is_failure", True):
            code = getattr(error, "code", None)
            self.fail(code if isinstance(code, str) else type(error).__name__)
        self.end()

    def rename(self, name: str) -> None:
        pass

    def set(self, attributes: Attributes) -> None:
        pass

    def fail(self, error: str) -> None:
        """Mark the span as failed. `error`: a code or the name of a class, never a message, which may quote a text."""

    def end(self) -> None:
        pass


NOT_RECORDED = Span()


def is_on() -> bool:
    return _recorder is not None


def start(process: str) -> None:
    """Record spans from now on, if the settings say so. `process`: edge, worker or scheduler. Call it after the fork."""
    if settings.traces_endpoint:
        from models.platform.span_recorder import Recorder

        record_with(Recorder.of_settings(process))


def record_with(recorder: Recorder | None) -> None:
    global _recorder  # noqa: PLW0603  (one per process)
    _recorder = recorder


def stop() -> None:
    """Send what is left, within a few seconds, and record nothing more."""
    if _recorder:
        _recorder.close()
        record_with(None)


def span(
    name: str, kind: Kind = "internal", *, within: str | None = None, attributes: Attributes | None = None
) -> Span:
    """A span for a `with` block. Exceptions that leave the block mark it as failed, unless they have `is_failure = False`.

    `within`: the traceparent of its parent. A text that is not valid begins a new trace; None: the current span is its
    parent. Attributes must not contain secrets, nor what users wrote.
    """
    return _recorder.span(name, kind, within, attributes) if _recorder else NOT_RECORDED


def current() -> str | None:
    """The traceparent of the current span, for other processes and services. None without one, or if traces are off."""
    return _recorder.current() if _recorder else None


def headers() -> dict[str, str]:
    """The headers by which another service continues the trace. Empty if there is none."""
    traceparent = current()
    return {"traceparent": traceparent} if traceparent else {}


def hidden() -> AbstractContextManager[object]:
    """A block without a current span, for libraries that tell other services of it by themselves."""
    return _recorder.hidden() if _recorder else NOT_RECORDED


def ids() -> dict[str, str]:
    """`trace_id` and `span_id` of the current span, in hexadecimal, for log lines. Empty if there is none."""
    traceparent = current()
    if not traceparent:
        return {}
    _, trace_id, span_id, _ = traceparent.split("-")
    return {"trace_id": trace_id, "span_id": span_id}
