"""Errors of every kind: the envelope replaces whatever the responder had prepared."""

import falcon.testing
import peewee
import pytest
import redis
from playhouse.pool import MaxConnectionsExceeded

from edge.app import create_app
from edge.endpoint import Route, undocumented
from models.platform.authorization import PUBLIC
from tests.support.routes import assert_envelope


class Failing:
    """A responder that prepares a cacheable gzipped stream, and then raises `error`."""

    def __init__(self, error):
        self.error, self.closed = error, False

    @undocumented(action=PUBLIC)
    def on_get(self, req, resp):
        resp.stream = self
        resp.etag = "good"
        resp.content_type = "text/html"
        resp.content_length = 5
        resp.set_header("Cache-Control", "public, max-age=3600")
        resp.set_header("Content-Encoding", "gzip")
        raise self.error

    def __iter__(self):
        return iter([b"<html"])

    def close(self):
        self.closed = True


@pytest.fixture
def get(clean):
    """get(resource) -> the answer of this resource, mounted in the whole application."""

    def send(resource):
        app = create_app()
        Route("/failing", resource).add_to(app)
        return falcon.testing.TestClient(app).simulate_get("/failing", headers={"Host": "localhost"})

    return send


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("secret"), 500, "internal_error"),
        (peewee.OperationalError("secret"), 503, "database_unavailable"),
        (MaxConnectionsExceeded("secret"), 503, "database_unavailable"),
        (redis.ConnectionError("secret"), 503, "cache_unavailable"),
        (falcon.HTTPBadRequest(title="Odd"), 400, "http_400"),
    ],
)
def test_an_error_replaces_everything_that_was_prepared(get, error, status, code):
    resource = Failing(error)
    answer = get(resource)
    assert_envelope(answer, status, code)
    assert "secret" not in answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers and "Content-Encoding" not in answer.headers
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert resource.closed, "or an event stream would keep its slot"
