"""Random bodies, queries and headers: the answer is always in the envelope, never a crash, and repeats no value."""

import json
import string

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from models.platform.settings import settings
from tests.support.routes import UNKNOWN_ID, WITH_BODY, WITH_QUERY, fill

CANARY = "canary-in-the-request"
EXPECTED = {200, 201, 202, 204, 400, 401, 403, 404, 409, 422, 423, 429, 503, 504}

odd_text = st.one_of(
    st.text(max_size=40),
    st.text(alphabet=st.characters(), max_size=20),
    st.sampled_from(
        ["", " ", "\0", "\ud800", "é" * 300, "x" * 5000, "null", "%", "../..", UNKNOWN_ID, CANARY, "a@b.example"]
    ),
    st.builds(lambda text: f"{CANARY}{text}", st.text(string.printable, max_size=10)),
)
odd = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**40]),
        st.floats(allow_nan=False, allow_infinity=False),
        odd_text,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=20), inner, max_size=3)),
    max_leaves=6,
)


def values_of(schema, defs):
    """Values that roughly match a JSON schema: most are valid, so that the code behind the validation runs too."""
    if "$ref" in schema:
        return values_of(defs[schema["$ref"].rsplit("/", 1)[-1]], defs)
    if "anyOf" in schema:
        return st.one_of([values_of(option, defs) for option in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "string":
        return text_of(schema)
    if kind == "integer":
        low, high = schema.get("minimum", -5), schema.get("maximum", 10**6)
        return st.integers(int(low), int(high))
    if kind == "number":
        return st.floats(schema.get("minimum", -10), schema.get("maximum", 10))
    if kind == "boolean":
        return st.booleans()
    if kind == "null":
        return st.none()
    if kind == "array":
        return st.lists(values_of(schema.get("items", {}), defs), max_size=3)
    if kind == "object" and "properties" in schema:
        required = set(schema.get("required", ()))
        fields = {name: values_of(part, defs) for name, part in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: field for name, field in fields.items() if name in required},
            optional={name: field for name, field in fields.items() if name not in required},
        )
    return odd


def text_of(schema):
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 300)
    if schema.get("format") == "email":
        return st.sampled_from(["jo@example.com", "JO@EXAMPLE.COM", "ä@example.com", "a@b.example"])
    if schema.get("format") == "uuid":
        return st.one_of(st.uuids().map(str), st.just(UNKNOWN_ID))
    return st.one_of(
        st.text(min_size=shortest, max_size=min(longest, shortest + 40)),
        st.just((CANARY + "-Horse Battery 9!" * 40)[: max(shortest, min(longest, 60))]),
    )


def bodies(model):
    schema = model.model_json_schema()
    valid = values_of(schema, schema.get("$defs", {}))
    names = st.sampled_from(sorted(schema["properties"]) or ["x"])
    one_odd_field = st.builds(lambda body, name, value: {**body, name: value}, valid, names, odd)
    return st.one_of(valid, one_odd_field, odd)


@pytest.fixture
def no_limits(configure, monkeypatch):
    """Switch off every limit that would answer in place of the responder."""
    for name in type(settings).model_fields:
        if "rate_limit" in name and name not in ("rate_limit_key_prefix", "slack_status_rate_limit_window_seconds"):
            configure(**{name: 0})
    configure(signup_access_policy="public", auth_ip_lockout_threshold=0, chat_stream_concurrent_limit=0)
    # No worker runs in these tests: nothing is worth waiting for.
    configure(chat_wait_seconds=0.01, billing_wait_seconds=0, storage_wait_seconds=0, vector_poll_seconds=0)
    monkeypatch.setattr("edge.resources.containers.CREATE_SECONDS", 0)


def assert_answered(answer):
    assert answer.status_code in EXPECTED, answer.text
    assert answer.headers["X-Correlation-ID"]
    if answer.status_code >= 400:
        assert answer.json["success"] is False and answer.json["error"]
        assert answer.status_code != 500


def bounded(examples):
    return hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@pytest.mark.parametrize(("method", "path", "operation"), [entry for entry in WITH_BODY if not entry[2].streams])
def test_a_random_body_never_crashes_and_is_not_repeated(http, signed, no_limits, method, path, operation):
    headers, _ = signed("owner", operator=True)

    @bounded(100)
    @given(body=bodies(operation.body))
    def send(body):
        raw = json.dumps(body).encode()  # escaped, because surrogates have no UTF-8
        answer = http.simulate_request(
            method.upper(), fill(path), headers={**headers, "Content-Type": "application/json"}, body=raw
        )
        assert_answered(answer)
        if answer.status_code == 422:
            assert CANARY not in answer.text

    send()
    assert http.simulate_get("/health").status_code == 200


@pytest.mark.parametrize(("method", "path", "operation"), [entry for entry in WITH_QUERY if not entry[2].streams])
def test_a_random_query_never_crashes(http, signed, no_limits, method, path, operation):
    headers, _ = signed("owner", operator=True)
    names = sorted(operation.query.model_fields)

    @bounded(40)
    @given(query=st.dictionaries(st.sampled_from(names), st.one_of(st.integers().map(str), odd_text), max_size=4))
    def send(query):
        params = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
        answer = http.simulate_request(method.upper(), fill(path), headers=headers, params=params)
        assert_answered(answer)

    send()


@pytest.mark.parametrize("header", ["X-Tenant-Id", "X-Tenant-Role", "X-Operator-Override", "X-Operator-Reason"])
def test_a_random_tenant_header_never_crashes(http, signed, no_limits, header):
    headers, _ = signed("owner", operator=True)

    @bounded(40)
    @given(value=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=200))
    def send(value):
        fuzzed = {**headers, "X-Operator-Override": "1", header: value}
        assert_answered(http.simulate_get("/api/v1/auth/service-accounts/tokens", headers=fuzzed))

    send()


@pytest.mark.parametrize("header", ["Authorization", "X-Vault-Payload"])
def test_a_random_signed_request_never_crashes(http, no_limits, configure, header):
    configure(service_issue_verifier="hmac", service_issue_secret="known to both")
    prefix = {"Authorization": "Bearer vault:", "X-Vault-Payload": ""}[header]

    @bounded(60)
    @given(value=st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=255), max_size=80))
    def send(value):
        headers = {"Authorization": "Bearer vault:x", "X-Vault-Payload": "e30", header: prefix + value}
        body = {"account": "analytics-batch", "scopes": ["conversations:read"]}
        answer = http.simulate_post("/api/v1/auth/service-accounts/issue", headers=headers, json=body)
        assert answer.status_code in (400, 401), answer.text

    send()
