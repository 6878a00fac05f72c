"""The span of a request: what it continues, and what it never holds."""

import uuid

import falcon.testing
import pytest

from edge.endpoint import Route, undocumented
from models.jobs.ledger import Job
from models.platform.authorization import PUBLIC
from tests.support.accounts import CHEAP_HASHER
from tests.support.traces import INVALID, PARENT, TRACE, TRACEPARENT, id_of, parent_of, trace_of


@pytest.fixture
def traced(spans, process_hub):
    """A client of an application that records spans."""
    from edge.app import create_app

    return falcon.testing.TestClient(create_app(hasher=CHEAP_HASHER), headers={"Host": "localhost"})


def test_a_request_continues_the_trace_that_its_caller_names(traced, spans):
    answer = traced.simulate_get("/api/v1/agents", headers={"traceparent": TRACEPARENT})
    span = spans.one("GET /api/v1/agents")
    assert (trace_of(span), parent_of(span), span.kind.name) == (TRACE, PARENT, "SERVER")
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{id_of(span)}-01"


@pytest.mark.parametrize("sent", INVALID.values(), ids=INVALID)
def test_a_bad_traceparent_changes_nothing(http, traced, spans, sent, signed):
    headers, _ = signed()
    plain = http.simulate_get("/api/v1/auth/me", headers=headers)
    answer = traced.simulate_get(
        "/api/v1/auth/me", headers={**headers, "traceparent": sent.encode("latin-1", "ignore").decode("latin-1")}
    )
    assert (answer.status_code, answer.json) == (200, plain.json)
    span = spans.one("GET /api/v1/auth/me")
    assert span.parent is None and trace_of(span) != TRACE


def test_a_traceparent_can_be_ignored(traced, spans, configure):
    configure(trace_context_from_clients=False)
    traced.simulate_get("/api/v1/agents", headers={"traceparent": TRACEPARENT})
    assert spans.one("GET").parent is None


def test_one_request_never_continues_another(traced, spans):
    for _ in range(3):
        traced.simulate_get("/api/v1/agents")
        traced.simulate_get("/nowhere")
    assert len({trace_of(span) for span in spans.all}) == 6
    assert not [span for span in spans.all if span.parent]


def test_a_span_holds_neither_ids_nor_queries_nor_headers(traced, spans, signed):
    headers, user = signed()
    run, email = str(uuid.uuid4()), user.email
    traced.simulate_get(
        f"/api/v1/runs/{run}", query_string="q=private-words", headers={**headers, "User-Agent": "agent-x"}
    )
    traced.simulate_post("/api/v1/auth/token", json={"email": email, "password": "private-words"})
    span = spans.one("GET /api/v1/runs/{run_id}")
    assert span.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "http.route": "/api/v1/runs/{run_id}",
        "http.response.status_code": 404,
    }
    hidden = (run, "private-words", "agent-x", email, headers["Authorization"].split()[1], "127.0.0.1")
    assert not [text for text in hidden if text in spans.text]


def test_unknown_paths_and_methods_create_no_names(traced, spans):
    traced.simulate_get("/private/path")
    traced.simulate_request("TRACE", "/api/v1/agents")
    assert [span.name for span in spans.all] == ["GET", "HTTP /api/v1/agents"]
    assert spans.all[1].attributes["http.request.method"] == "_OTHER"


class Failing:
    @undocumented(action=PUBLIC)
    def on_get(self, req, resp):
        raise RuntimeError("private words")


def test_only_a_failure_of_ours_is_an_error(traced, spans):
    Route("/failing", Failing()).add_to(traced.app)
    assert traced.simulate_get("/failing").status_code == 500
    assert traced.simulate_get("/api/v1/agents").status_code == 401
    failed, refused = spans.all
    assert failed.attributes["error.type"] == "500" and failed.status.status_code.name == "ERROR"
    assert "error.type" not in refused.attributes and refused.status.status_code.name == "UNSET"
    assert "private words" not in spans.text


def test_probes_have_no_spans(traced, spans):
    for path in ("/health", "/metrics"):
        assert "traceresponse" not in traced.simulate_get(path).headers
    assert spans.all == []


def test_without_traces_there_is_no_header(http):
    assert "traceresponse" not in http.simulate_get("/api/v1/agents", headers={"traceparent": TRACEPARENT}).headers


def test_what_a_request_enqueues_continues_its_trace(traced, spans, clean):
    answer = traced.simulate_post(
        "/api/v1/auth/password/forgot", json={"email": "x@example.com"}, headers={"traceparent": TRACEPARENT}
    )
    assert answer.status_code == 202
    (job,) = Job.select().where(Job.name == "mail.reset")
    assert job.traceparent == answer.headers["traceresponse"]
