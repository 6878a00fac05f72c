"""GET /api/v1/billing/stream: who may open it, how many of them, and what ends it."""

import json
import time

import gevent
import pytest

from edge import watch as watching
from tests.support.changes import change_role, end_sessions
from tests.support.stripe_events import record

PATH = "/api/v1/billing/stream"


@pytest.fixture(autouse=True)
def watched(monkeypatch, configure):
    """Streams are on; rights are checked every tenth of a second."""
    configure(enable_billing_stream=True)
    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.1)
    yield
    if watching.watch.greenlet:
        gevent.kill(watching.watch.greenlet)
    watching.watch.greenlet = None


@pytest.fixture
def open_stream(app, process_hub):
    """open_stream(headers, ...) -> (status, headers, the body's iterator), as a server calls the application."""
    from falcon.testing import StartResponseMock, create_environ

    bodies = []

    def start(headers, query=""):
        answer = StartResponseMock()
        environ = create_environ(PATH, headers=headers, query_string=query)
        body = app(environ, answer)
        bodies.append(body)
        return int(answer.status[:3]), dict(answer.headers), body

    yield start
    for body in bodies:
        if hasattr(body, "close"):
            body.close()


def frames(body, count):
    """The next `count` frames with events."""
    found = []
    with gevent.Timeout(10):
        while len(found) < count:
            found += [part for part in next(body).decode().split("\n\n") if part and not part.startswith(":")]
    return found


def test_the_frames_of_a_stream(open_stream, signed, tenant):
    record(tenant, summary="First")
    status, headers, body = open_stream(signed("admin")[0])
    assert (status, headers["content-type"], headers["x-accel-buffering"]) == (
        200,
        "text/event-stream; charset=utf-8",
        "no",
    )
    assert next(body) == b": open\n\n"
    data, number = frames(body, 2)
    assert number == "id: 1"
    assert json.loads(data.removeprefix("data: "))["summary"] == "First"


@pytest.mark.parametrize(
    ("query", "last", "first"), [("after=1", None, 2), ("", "2", 3), ("after=1", "2", 2), ("", None, 1), ("", "", 1)]
)
def test_where_a_client_goes_on(open_stream, signed, tenant, query, last, first):
    for _ in range(3):
        record(tenant)
    headers = signed("admin")[0] | ({} if last is None else {"Last-Event-ID": last})
    *_, body = open_stream(headers, query)
    assert frames(body, 2)[1] == f"id: {first}"


@pytest.mark.parametrize(("query", "last"), [("after=x", None), ("after=-1", None), ("", "x"), ("", "9" * 30)])
def test_numbers_that_are_none(http, signed, query, last):
    headers = signed("admin")[0] | ({} if last is None else {"Last-Event-ID": last})
    assert http.simulate_get(PATH, headers=headers, query_string=query).status_code == 422


def test_a_disabled_stream_says_so_before_anything_counts(http, signed, configure):
    configure(enable_billing_stream=False, billing_stream_rate_limit_per_minute=1)
    headers, _ = signed("admin")
    for _ in range(3):
        answer = http.simulate_get(PATH, headers=headers)
        assert (answer.status_code, answer.json["message"]) == (503, "Billing stream is disabled.")


def test_new_streams_of_a_tenant_are_limited(open_stream, http, signed, configure):
    configure(billing_stream_rate_limit_per_minute=2)
    one, other = signed("admin")[0], signed("owner")[0]
    assert [open_stream(one)[0], open_stream(other)[0]] == [200, 200]
    answer = http.simulate_get(PATH, headers=one)
    assert (answer.status_code, answer.json["details"]["quota"]) == (429, "billing_stream_per_minute")
    assert int(answer.headers["Retry-After"]) <= 60


def test_open_streams_of_a_tenant_are_limited_and_a_client_that_leaves_makes_room(open_stream, http, signed, configure):
    configure(billing_stream_concurrent_limit=2)
    headers, _ = signed("admin")
    (*_, first), (*_, _second) = open_stream(headers), open_stream(headers)
    answer = http.simulate_get(PATH, headers=headers)
    assert (answer.status_code, answer.json["details"]["quota"]) == (429, "billing_stream_concurrency")
    first.close()  # before anything was read
    assert open_stream(headers)[0] == 200


def test_limits_of_zero_are_off(open_stream, signed, configure):
    configure(billing_stream_concurrent_limit=0, billing_stream_rate_limit_per_minute=0)
    headers, _ = signed("admin")
    assert {open_stream(headers)[0] for _ in range(5)} == {200}


def test_without_redis_streams_open_and_get_what_postgres_has(open_stream, signed, tenant):
    from models.platform.settings import settings

    headers, _ = signed("admin")
    record(tenant)
    with settings.override(redis_url="redis://127.0.0.1:1/0"):
        *_, body = open_stream(headers)
        assert frames(body, 2)[1] == "id: 1"


@pytest.mark.parametrize("role", ["member", "viewer"])
def test_who_may_not_read_billing(http, signed, role):
    assert http.simulate_get(PATH, headers=signed(role)[0]).status_code == 403


def test_there_is_no_head(http, signed):
    assert http.simulate_head(PATH, headers=signed("admin")[0]).status_code == 405


def ends(body, seconds=3):
    reading = gevent.spawn(list, body)
    reading.join(seconds)
    ready = reading.ready()
    reading.kill()
    return ready


@pytest.mark.parametrize("change", [end_sessions, lambda user: change_role(user, "member")])
def test_a_stream_ends_with_the_right_to_read_it(open_stream, signed, change):
    headers, user = signed("admin")
    *_, body = open_stream(headers)
    assert next(body) == b": open\n\n"
    change(user)
    assert ends(body)


def test_a_stream_goes_on_while_its_caller_may_read(open_stream, signed):
    headers, user = signed("admin")
    *_, body = open_stream(headers)
    change_role(user, "owner")
    assert not ends(body, 0.5)


def test_a_stream_ends_with_its_token(open_stream, signed, monkeypatch):
    *_, body = open_stream(signed("admin")[0])
    assert next(body) == b": open\n\n"
    later = time.time() + 31 * 60
    monkeypatch.setattr(watching.time, "time", lambda: later)
    assert ends(body)
