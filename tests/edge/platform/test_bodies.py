"""Bodies that an operation does not accept: the answer names the problem and repeats no value."""

import pytest

from models.platform.settings import settings
from tests.support.routes import WITH_BODY, assert_envelope, call

WITH_OTHER_FIELDS = b'{"message": {"a": []}, "email": 5, "refresh_token": {}, "password": null}'
UNSTORABLE = b'{"message": "a\\u0000b", "email": "\\ud800"}'
INVALID = [
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"1",
    b"\xff\xfe",
    b"[" * 10_000,
    b'{"message": NaN, "a":',
    b"{}",
    b'{"\\u0000": 1}',
    WITH_OTHER_FIELDS,
    UNSTORABLE,
]


def is_valid(schema, body):
    """Whether the schema accepts the body: one without required fields does not need any of these."""
    return not schema.model_json_schema().get("required") and body in (b"{}", WITH_OTHER_FIELDS)


@pytest.mark.parametrize(
    ("method", "path", "operation", "body"),
    [(*entry, body) for entry in WITH_BODY for body in INVALID if not is_valid(entry[2].body, body)],
)
def test_an_invalid_body_is_a_422(http, signed, method, path, operation, body):
    headers, _ = signed("owner", operator=True)
    answer = call(http, method, path, {**headers, "Content-Type": "application/json"}, body=body)
    assert_envelope(answer, 422, "validation_error")
    assert answer.json["detail"] and all(set(problem) == {"loc", "msg", "type"} for problem in answer.json["detail"])


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_another_content_type_is_a_415(http, signed, method, path, operation):
    headers, _ = signed("owner", operator=True)
    answer = call(http, method, path, {**headers, "Content-Type": "text/plain"}, body="x=1")
    assert_envelope(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(("method", "path", "operation"), WITH_BODY)
def test_a_body_over_the_limit_is_a_413(http, signed, method, path, operation):
    headers, _ = signed("owner", operator=True)
    body = b'{"message": "' + b"x" * (settings.request_body_limit_bytes + 1) + b'"}'
    answer = call(http, method, path, {**headers, "Content-Type": "application/json"}, body=body)
    assert_envelope(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 401),
        ("Application/JSON; charset=utf-8", 401),
        ("application/json;", 401),
        ("application/vnd.api+json", 401),
        ("text/json", 401),
        ("application/jsonp", 415),
        ("text/plain; json", 415),
        ("multipart/form-data; boundary=json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("json", 415),
        ("", 415),
    ],
)
def test_only_the_media_type_says_whether_a_body_is_json(http, content_type, status):
    body = b'{"email": "jo@example.com", "password": "a wrong password"}'
    answer = http.simulate_post("/api/v1/auth/token", headers={"Content-Type": content_type}, body=body)
    assert_envelope(answer, status)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_body_in_any_unicode_encoding_is_read(http, encoding):
    body = '{"email": "jo@example.com", "password": "a wrong pässword"}'.encode(encoding)
    answer = http.simulate_post("/api/v1/auth/token", headers={"Content-Type": "application/json"}, body=body)
    assert_envelope(answer, 401)


def test_a_body_shorter_than_its_content_length_is_a_422(http):
    """The client broke off; what came so far happens to be valid JSON."""
    body = b'{"email": "jo@example.com", "password": "a wrong password"}'
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body) + 1)}
    answer = http.simulate_post("/api/v1/auth/token", headers=headers, body=body)
    assert_envelope(answer, 422, "validation_error")


def test_an_error_does_not_repeat_the_password(http):
    body = {"email": "no address", "password": "s3cret-s3cret", "tenant_id": 7}
    answer = http.simulate_post("/api/v1/auth/token", json=body)
    assert answer.status_code == 422 and "s3cret" not in answer.text
