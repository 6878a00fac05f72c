"""The documented operations, taken from the route table, so that tests cover routes added later too."""

from edge.openapi import PARAMETER, documented
from edge.routes import routes
from models.platform.authorization import STATUS_SUBSCRIPTION_MANAGE
from models.platform.settings import Settings, settings
from tests.support.accounts import CHEAP_HASHER
from tests.support.stripe import BILLING

UNKNOWN_ID = "01a20ac7-784f-712d-8112-15c292557957"
OPTIONAL = {
    "resend_webhook_secret": "whsec_bG9uZ3Nob3Jl",
    "enable_frontend_log_ingest": True,
    "use_test_fixtures": True,
}
# Every route that there can be. The tests' application has them all, whatever a test sets for the process.
EVERYTHING = Settings(**{**settings.model_dump(), **BILLING, **OPTIONAL})
# Answered with 204 also if there is nothing of this id, as the contract has it.
ALWAYS_GONE = {
    ("delete", "/api/v1/storage/objects/{object_id:uuid}"),
    ("delete", "/api/v1/containers/agents/{agent_key}/container"),
}
# Anybody may call these with a token from a mail. Without one they take this action.
TOKEN_OR_ACTION = {("delete", "/api/v1/status/subscriptions/{subscription_id:uuid}"): STATUS_SUBSCRIPTION_MANAGE}
ENVELOPE = {"success", "error", "message", "detail", "details", "correlation_id"}

# (method, path, operation), with the method in lower case
OPERATIONS = [(method, path, operation) for path, method, operation in documented(routes(EVERYTHING, CHEAP_HASHER))]
GUARDED = [entry for entry in OPERATIONS if not entry[2].action.public]
VERIFIED_ONLY = [entry for entry in GUARDED if not entry[2].action.unverified]
TENANT_ONLY = [entry for entry in GUARDED if entry[2].action.role]
ADMIN_ONLY = [entry for entry in GUARDED if entry[2].action.role in ("admin", "owner")]
USERS_ONLY = [entry for entry in GUARDED if not entry[2].action.machines]
WITH_BODY = [entry for entry in OPERATIONS if entry[2].body]
WITH_QUERY = [entry for entry in OPERATIONS if entry[2].query]
STREAMS = [entry for entry in OPERATIONS if entry[2].streams]
WITH_PARAMETER = [entry for entry in OPERATIONS if PARAMETER.search(entry[1])]
WITHOUT_PARAMETER = [entry for entry in OPERATIONS if not PARAMETER.search(entry[1])]


def fill(path, value=UNKNOWN_ID):
    """The path with every parameter replaced: by `value`, or by what a dict holds under the parameter's name."""
    return PARAMETER.sub(lambda match: value[match[1]] if isinstance(value, dict) else value, path)


def minimal_body(operation):
    """The smallest body that fits the operation's schema: required texts, choices and numbers only."""
    if operation.body is None:
        return {}
    schema = operation.body.model_json_schema()
    fields = {name: schema["properties"][name] for name in schema.get("required", ())}
    return {name: _minimal_value(field) for name, field in fields.items()}


def _minimal_value(field):
    if "enum" in field:
        return field["enum"][0]
    if field.get("format") == "uuid":
        return UNKNOWN_ID
    return 1 if field.get("type") in ("integer", "number") else "x" * field.get("minLength", 1)


def call(http, method, path, headers=None, **options):
    headers = {"Host": "localhost", **(headers or {})}
    return http.simulate_request(method.upper(), fill(path), headers=headers, **options)


def assert_envelope(answer, status, code=None):
    """The answer is the error envelope with this status and, if given, this error code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert set(body) == ENVELOPE
    assert body["success"] is False
    assert body["correlation_id"] == answer.headers["X-Correlation-ID"]
    if code:
        assert body["error"] == code
