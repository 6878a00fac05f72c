"""Safe by default: what every answer tells browsers, caches and crawlers."""

import re

import falcon.testing
import pytest

from edge.app import create_app
from edge.middleware import IN_PRODUCTION, SECURITY
from edge.relay import follow
from edge.routes import routes
from tests.support.accounts import CHEAP_HASHER
from tests.support.production import settings_with
from tests.support.routes import EVERYTHING, fill

# What public answers may say instead. Everything else has exactly the table of the middleware.
POLICY, CACHE = "Content-Security-Policy", "Cache-Control"
EXCEPTIONS = {
    "/docs": {POLICY, CACHE},
    "/docs/{name}": {POLICY, CACHE},
    "/.well-known/jwks.json": {CACHE},
    "/openapi.json": {CACHE},
    **{key: {POLICY, CACHE} for key in ("/status", "/status/history", "/status/incidents/{slug}")},
    **{key: {POLICY} for key in ("/status/subscribe", "/status/confirm", "/status/unsubscribe")},
}
# What the status tells the public may be read from any page.
OTHER_SITES = "Cross-Origin-Resource-Policy"
STATUS_FEEDS = ("/api/v2/", "/api/v1/status")
MAY_BE_AWAY = (
    "/health",
    "/api/v1/billing/stream",
    "/webhooks/resend",
    "/webhooks/stripe",
)  # 503 says that a part is away or off
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PATHS = [route.path for route in routes(EVERYTHING, CHEAP_HASHER)]


def assert_headers(answer, exceptions=()):
    found = {name.title(): value for name, value in answer.headers.items()}
    wrong = {
        name: found.get(name.title())
        for name, value in SECURITY.items()
        if name not in exceptions and found.get(name.title()) != value
    }
    assert not wrong
    assert not any(character.isdigit() for character in found.get("Server", ""))


def values(path):
    path = path.replace(":uuid", "")
    names = re.findall(r"{(\w+)}", path)
    return fill(path, dict.fromkeys(names, "01a20ac7-784f-712d-8112-15c292557957") | {"name": "reference.js"})


@pytest.mark.parametrize("signed_in", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_every_route_answers_every_method_with_the_same_headers(http, signed, path, signed_in):
    headers = signed("owner")[0] if signed_in else {"Host": "localhost"}
    for method in METHODS:
        answer = http.simulate_request(method, values(path), headers=headers, body=b"{}" if method[0] == "P" else None)
        exceptions = EXCEPTIONS.get(path, set())
        if path.startswith(STATUS_FEEDS) and method in ("GET", "HEAD"):
            exceptions = {CACHE, OTHER_SITES}
        assert_headers(answer, exceptions)
        assert "frame-ancestors 'none'" in answer.headers[POLICY]
        assert answer.status_code < 500 or path.startswith(MAY_BE_AWAY)


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "/nowhere", 404),
        ({}, "/robots.txt/x", 404),
        ({"Host": "evil.example"}, "/", 400),
        ({"Host": "localhost:x"}, "/", 400),
        ({"Authorization": "Bearer x"}, "/api/v1/auth/me", 401),
        ({"Accept": "text/html"}, "/docs/nothing.js", 404),
    ],
)
def test_errors_have_the_same_headers(http, headers, path, status):
    answer = http.simulate_get(path, headers=headers)
    assert answer.status_code == status
    assert_headers(answer)


def test_a_crash_has_the_same_headers(http, monkeypatch):
    monkeypatch.setattr("edge.resources.health.report", lambda status: 1 / 0)
    answer = http.simulate_get("/health")
    assert answer.status_code == 500
    assert_headers(answer)


def test_a_stream_is_stored_nowhere(http, signed, ask_as, process_hub):
    from models.runs.run import Run

    _, user = signed()
    run = ask_as(user, "hello")
    resp = falcon.Response()
    follow(resp, Run.get_by_id(run.id), principal=None)
    resp.stream.close()
    assert resp.get_header(CACHE) == "no-store, no-transform"


def test_only_production_tells_browsers_to_insist_on_tls(http, clean):
    [(name, value)] = IN_PRODUCTION.items()
    assert name not in http.simulate_get("/health").headers
    production = settings_with(service_issue_verifier="off", allowed_hosts="localhost")
    hardened = falcon.testing.TestClient(create_app(production, hasher=CHEAP_HASHER), headers={"Host": "localhost"})
    for path in ("/", "/nowhere", "/docs"):
        assert hardened.simulate_get(path).headers[name] == value


def test_the_server_does_not_tell_its_version():
    """gunicorn sets the header itself, below the application."""
    from gunicorn.http.wsgi import SERVER

    assert SERVER == "gunicorn"


def test_crawlers_are_sent_away(http):
    answer = http.simulate_get("/robots.txt")
    assert (answer.status_code, answer.text) == (200, "User-agent: *\nDisallow: /\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


# ---------------------------------------------------------------- proxies


def test_an_untrusted_forwarded_address_is_counted_and_reported_once(clean, configure, monkeypatch):
    from edge import metrics, middleware

    warnings = []
    monkeypatch.setattr(middleware.log, "warning", lambda event, **_: warnings.append(event), raising=False)
    configure(trusted_proxies="")
    http = falcon.testing.TestClient(create_app(hasher=CHEAP_HASHER), headers={"Host": "localhost"})
    before = metrics.FORWARDED_UNTRUSTED._value.get()
    for _ in range(3):
        http.simulate_get("/health", headers={"X-Forwarded-For": "203.0.113.7"})
    assert metrics.FORWARDED_UNTRUSTED._value.get() == before + 3
    assert warnings == ["http.forwarded_untrusted"]
