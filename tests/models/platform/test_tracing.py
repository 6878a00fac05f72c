"""Traces: what is recorded, what continues where, and that nothing depends on it."""

import logging
import socket
import sys
import time

import gevent
import pytest

from models.platform import logs, tracing
from models.platform.redaction import known_secrets
from tests.support.production import SAFE, python
from tests.support.traces import INVALID, PARENT, TRACE, TRACEPARENT, collector, id_of, parent_of, trace_of


@pytest.fixture
def sending_to(configure, monkeypatch):
    """sending_to(url): start as a process does whose settings name this collector."""

    def start(url):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        configure(otel_exporter_otlp_endpoint=url)
        tracing.start("test")

    yield start
    tracing.stop()


# ---------------------------------------------------------------- off


def test_without_a_collector_nothing_of_it_is_loaded_and_nothing_needs_to_be_installed():
    # Not here: the Redis client imports the library wherever it finds it.
    code = (
        "import sys; sys.modules['opentelemetry'] = None; from models.platform import tracing; tracing.start('edge');"
        "import workers.main, edge.app, scheduler.main; print(tracing.is_on(), 'models.platform.span_recorder' in sys.modules)"
    )
    assert python("-c", code, ENVIRONMENT="test", SECRET_KEY="any").stdout.strip() == "False False"


@pytest.mark.parametrize(
    "settings", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_off_means_off(settings):
    code = "from models.platform import tracing; tracing.start('edge'); print(tracing.is_on())"
    assert python("-c", code, ENVIRONMENT="test", **settings).stdout.strip() == "False"


def test_a_span_that_is_not_recorded_can_be_used_like_any_other():
    with pytest.raises(KeyError), tracing.span("a", attributes={"b": 1}) as span:
        span.set({"c": 2})
        span.rename("d")
        span.fail("e")
        assert tracing.current() is None and tracing.headers() == tracing.ids() == {}
        raise KeyError
    tracing.stop()


# ---------------------------------------------------------------- parents


def test_spans_in_spans_are_one_trace(spans):
    with tracing.span("outer", "server"), tracing.span("inner", "client", attributes={"a": 1, "none": None}):
        pass
    outer, inner = spans.one("outer"), spans.one("inner")
    assert (trace_of(inner), parent_of(inner), parent_of(outer)) == (trace_of(outer), id_of(outer), None)
    assert inner.attributes == {"a": 1} and inner.kind.name == "CLIENT"
    assert tracing.current() is None


def test_a_traceparent_is_continued_and_passed_on(spans):
    with tracing.span("a", within=TRACEPARENT):
        passed_on = tracing.current()
        assert tracing.headers() == {"traceparent": passed_on}
    span = spans.one("a")
    assert (trace_of(span), parent_of(span)) == (TRACE, PARENT)
    assert passed_on == f"00-{TRACE}-{id_of(span)}-01" and len(passed_on) == 55


@pytest.mark.parametrize("sent", INVALID.values(), ids=INVALID)
def test_a_text_that_is_no_traceparent_begins_a_new_trace(spans, sent):
    with tracing.span("before"), tracing.span("a", within=sent):
        pass
    span = spans.one("a")
    assert span.parent is None and trace_of(span) not in (TRACE, trace_of(spans.one("before")))


def test_what_the_caller_does_not_sample_is_not_recorded_but_passed_on(spans):
    with tracing.span("a", within=f"00-{TRACE}-{PARENT}-00"), tracing.span("b"):
        assert tracing.current().startswith(f"00-{TRACE}-") and tracing.current().endswith("-00")
    assert spans.all == []


def test_the_operators_sampler_decides_and_not_the_flag_of_a_caller(monkeypatch):
    from tests.support.traces import Recorded

    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    recorded = Recorded()
    tracing.record_with(recorded.recorder)
    with tracing.span("a", within=TRACEPARENT):
        assert tracing.current().endswith("-00")
    tracing.record_with(None)
    assert recorded.all == []


def test_greenlets_have_current_spans_of_their_own(spans):
    def work(n):
        for _ in range(3):
            with tracing.span(f"outer {n}", within=""):
                before = tracing.current()
                gevent.sleep(0)
                assert tracing.current() == before
                with tracing.span(f"inner {n}"):
                    gevent.sleep(0)
            assert tracing.current() is None
            gevent.sleep(0)

    gevent.joinall([gevent.spawn(work, n) for n in range(20)], raise_error=True)
    parents = {id_of(span): span.name.split()[1] for span in spans.named("outer")}
    assert len(parents) == 60
    assert [parents[parent_of(span)] for span in spans.named("inner")] == [
        span.name.split()[1] for span in spans.named("inner")
    ]


def test_a_generator_that_is_closed_early_ends_its_span(spans):
    def events():
        with tracing.span("a"):
            yield 1
            yield 2

    running = events()
    next(running)
    assert tracing.current()
    running.close()
    assert tracing.current() is None
    assert spans.one("a").status.is_ok


# ---------------------------------------------------------------- failures


class Coded(Exception):
    code = "provider_timeout"


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyError("a secret"), "KeyError"), (Coded("a secret"), "provider_timeout")]
)
def test_an_exception_is_recorded_by_its_class_or_code_and_never_by_its_message(spans, error, kind):
    with pytest.raises(type(error)), tracing.span("a"):
        raise error
    span = spans.one("a")
    assert span.attributes == {"error.type": kind} and not span.status.is_ok
    assert "a secret" not in spans.text


# ---------------------------------------------------------------- logs


def test_log_lines_within_a_span_name_it(spans, capsys, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    logs.configure("edge")
    with tracing.span("a"):
        logging.getLogger("x").warning("inside")
    logging.getLogger("x").warning("outside")
    root.setLevel(level)
    inside, outside = [line for line in capsys.readouterr().out.splitlines() if "side" in line]
    assert trace_of(spans.one("a")) in inside and id_of(spans.one("a")) in inside
    assert "trace_id" not in outside


# ---------------------------------------------------------------- sending


def test_spans_reach_the_collector_with_what_the_standard_variables_say(sending_to, monkeypatch):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=our-name,team=b")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=open%20sesame")
    with collector() as received:
        sending_to(received.url)
        with tracing.span("a", attributes={"n": 1}):
            pass
        tracing.stop()
    (span,) = received.spans
    assert (span.service, span.name, span.attributes) == ("our-name", "a", {"n": 1})
    assert received.headers["x-key"] == "open sesame"
    assert not tracing.is_on()


@pytest.mark.parametrize("answers", [False, True])
def test_a_collector_that_is_down_or_silent_slows_and_breaks_nothing(sending_to, answers):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if answers else 9
        sending_to(f"http://127.0.0.1:{port}")
        processor = tracing._recorder.provider._active_span_processor._span_processors[0]._batch_processor
        began = time.process_time()
        for _ in range(5_000):
            with tracing.span("a"):
                pass
        used = time.process_time() - began
        assert len(processor._queue) <= 2048  # what does not fit is dropped
        assert used < 5  # seconds, where 0.2 are usual
        began = time.monotonic()
        tracing.stop()
        assert time.monotonic() - began < 10  # of which it waits three


def test_a_collector_in_production_is_reached_with_tls_and_needs_the_library():
    def refusals(**more):
        return python("-m", "models", "check", **{**SAFE, **more}).stdout

    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in refusals(OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.example.com:4318")
    assert "OTEL_" not in refusals(OTEL_EXPORTER_OTLP_ENDPOINT="https://collector.example.com:4318")
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" in refusals(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://c.example.com/x")


def test_a_missing_library_is_a_refusal_and_not_a_crash(monkeypatch, configure):
    from models.platform import startup_checks
    from models.platform.settings import settings

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto", None)
    monkeypatch.delitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", raising=False)
    configure(otel_exporter_otlp_endpoint="http://127.0.0.1:4318")
    assert any("install longshore[otel]" in line for line in startup_checks.problems(settings, ["edge"]))


def test_the_headers_for_the_collector_are_secrets(configure):
    configure(otel_exporter_otlp_headers="api-key=s3cret-value,x-team=platform-team")
    assert {"s3cret-value", "platform-team"} <= set(known_secrets())
