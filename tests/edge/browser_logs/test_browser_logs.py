"""POST /api/v1/logs: who may log, what is logged, and what nobody can make our log say."""

import hashlib
import hmac
import json
import logging
import time

import pytest

from models.platform import logs
from models.platform.redaction import without_tokens
from tests.support.accounts import CHEAP_HASHER, is_rate_limited
from tests.support.routes import assert_envelope

SECRET = "a shared secret of thirty-two by"
LINE = {"event": "checkout.failed", "level": "error", "message": "No answer", "fields": {"page": "/checkout"}}
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJl"


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [record for record in caplog.records if record.name == "frontend"]


@pytest.fixture
def send(http, signed):
    headers, user = signed()

    def post(**body):
        return http.simulate_post("/api/v1/logs", json=body, headers=headers)

    post.user = user
    return post


@pytest.fixture
def send_signed(http, configure):
    configure(allow_anon_frontend_logs=True, frontend_log_shared_secret=SECRET)

    def post(raw, signature=None):
        signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest() if signature is None else signature
        headers = {"X-Log-Signature": signature, "Content-Type": "application/json"}
        return http.simulate_post("/api/v1/logs", body=raw, headers=headers)

    return post


def test_a_users_line_is_logged_with_who_sent_it(send, lines, tenant):
    answer = send(**LINE)
    assert (answer.status_code, answer.json) == (202, {"accepted": True})
    [record] = lines()
    assert (record.getMessage(), record.levelname) == ("frontend.log", "ERROR")
    assert (record.frontend_event, record.frontend_message) == ("checkout.failed", "No answer")
    assert record.fields == {"page": "/checkout"}
    assert (record.user_id, record.tenant_id) == (str(send.user.id), str(tenant.id))


def test_a_signed_line_is_logged_without_a_user(send_signed, lines):
    assert send_signed(json.dumps(LINE).encode()).status_code == 202
    [record] = lines()
    assert record.frontend_event == "checkout.failed" and not hasattr(record, "user_id")


@pytest.mark.parametrize("signature", ["", "0" * 64, "nonsense", "\u00fc", "0" * 10_000])
def test_a_wrong_signature_is_a_401(send_signed, lines, signature):
    assert_envelope(send_signed(json.dumps(LINE).encode(), signature), 401, "signature_invalid")
    assert lines() == []


def test_a_signature_is_of_these_bytes(send_signed, lines):
    raw = json.dumps(LINE).encode()
    signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    assert_envelope(send_signed(raw + b" ", signature), 401, "signature_invalid")
    assert send_signed(raw, signature.upper()).status_code == 202 and len(lines()) == 1


def test_without_a_secret_no_signature_holds(send_signed, configure):
    configure(frontend_log_shared_secret=None)
    raw = json.dumps(LINE).encode()
    assert_envelope(send_signed(raw, hmac.new(b"", raw, hashlib.sha256).hexdigest()), 401, "signature_invalid")


def test_strangers_are_refused_unless_they_may(http):
    assert_envelope(http.simulate_post("/api/v1/logs", json=LINE), 403, "anonymous_logs_off")
    bad = {"Authorization": "Bearer nonsense"}
    assert_envelope(http.simulate_post("/api/v1/logs", json=LINE, headers=bad), 401)


def test_a_size_is_refused_before_a_signature(send, send_signed):
    large = json.dumps({"event": "x", "message": "y" * 16_384}).encode()
    for answer in (send_signed(large, "wrong"), send(event="x", message="y" * 16_384)):
        assert_envelope(answer, 413, "body_too_large")
        assert answer.json["message"] == "Log payload too large."


@pytest.mark.parametrize(
    "change",
    [
        {"event": ""},
        {"event": "x" * 129},
        {"level": "fatal"},
        {"level": 40},
        {"message": "x" * 2049},
        {"fields": {f"key{n}": n for n in range(33)}},
        {"fields": {"k" * 65: 1}},
        {"fields": []},
    ],
)
def test_what_does_not_fit_is_a_422(send, lines, change):
    assert_envelope(send(**{**LINE, **change}), 422)
    assert lines() == []


def test_a_user_has_a_limit(send, configure):
    configure(frontend_log_rate_limit_per_minute=2)
    assert [send(**LINE).status_code for _ in range(2)] == [202, 202]
    assert is_rate_limited(send(**LINE), "frontend_logs_user")


def test_a_network_has_a_limit_and_wrong_signatures_count(send_signed, configure):
    configure(frontend_log_rate_limit_per_minute=2)
    raw = json.dumps(LINE).encode()
    assert [send_signed(raw, "wrong").status_code, send_signed(raw).status_code] == [401, 202]
    assert is_rate_limited(send_signed(raw), "frontend_logs_ip")


def test_nothing_of_ours_can_be_overwritten(send, lines):
    names = ("level", "message", "MESSAGE", "name", "args", "exc_info", "event", "ts", "service", "correlation_id")
    assert send(event="x", fields=dict.fromkeys(names, "forged")).status_code == 202
    [record] = lines()
    assert set(record.fields) == set(names) - {"level", "message", "MESSAGE"}
    assert (record.name, record.getMessage(), record.levelname) == ("frontend", "frontend.log", "INFO")


def test_texts_stay_on_their_line(send, lines):
    send(
        event="a\n{}",
        message="b\r\n\x1b[31mc\u2028d",
        fields={"e\nf": ["g\nh", {"i": "j\x00k".replace("\x00", "\x07")}]},
    )
    [record] = lines()
    assert (record.frontend_event, record.frontend_message) == ("a {}", "b [31mc d")
    assert record.fields == {"e f": ["g h", {"i": "j k"}]}


def test_a_browser_wakes_nobody_up(send, lines):
    send(event="x", level="critical")
    [record] = lines()
    assert (record.levelname, record.frontend_level) == ("ERROR", "critical")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"failed with {JWT}", JWT),
        ("GET /reset?token=abc123def&x=1", "abc123def"),
        ("Authorization: Bearer abcdef", "abcdef"),
        ('{"password": "hunter2"}', "hunter2"),
        ("new_password=hunter2;", "hunter2"),
        ("sk-live-0123456789abcdef", "0123456789abcdef"),
        ("https://jo:hunter2@example.com/", "hunter2"),
        ("a" * 32 + "." + "b" * 64, "b" * 64),
    ],
)
def test_tokens_are_blanked_out(send, lines, text, hidden):
    send(event="x", message=text, fields={"deep": [{"er": text}]})
    [record] = lines()
    assert hidden not in record.frontend_message and hidden not in str(record.fields)
    assert "[redacted]" in record.frontend_message


def test_ordinary_texts_stay_as_they_are():
    for text in (
        "The token is expired",
        "page=/a?x=1&y=2",
        "https://example.com/a:b@c",
        "12:30 basic",
        "skis-and-more",
    ):
        assert without_tokens(text) == text


def test_the_worst_text_costs_little():
    for piece in ("eyJ-", "a-", "token", "://a", "bearer ", "a.", "password="):
        began = time.process_time()
        without_tokens((piece * 2048)[:2048])
        assert time.process_time() - began < 1


def test_secrets_in_nested_values_of_a_line_are_blanked_out():
    line = {"fields": {"password": "hunter2", "page": "/", "deep": [{"api_key": "k", "n": 1}]}, "token": "t"}
    expected = {"password": "[redacted]", "page": "/", "deep": [{"api_key": "[redacted]", "n": 1}]}
    assert logs._redact(None, "", line) == {"fields": expected, "token": "[redacted]"}


def test_without_the_setting_there_is_no_such_route(http_with):
    assert_envelope(http_with(CHEAP_HASHER).simulate_post("/api/v1/logs", json=LINE), 404, "not_found")
