"""Signed requests of machines for tokens: what is accepted, and how often."""

import base64
import hashlib
import hmac
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from models.auth.service_tokens import ServiceToken
from models.platform import startup_checks
from models.platform.audit import AuditEvent
from models.platform.database import release
from models.platform.settings import settings
from tests.support.accounts import status_and_message
from workers.gateways import vault as vault_gateway

SECRET = "known to both sides"


def sign(payload, secret=SECRET):
    return hmac.new(secret.encode(), payload, hashlib.sha256).hexdigest()


def encoded(payload):
    return base64.urlsafe_b64encode(payload).decode()


@pytest.fixture
def claims(tenant):
    moment = int(time.time())
    return {
        "iss": "ci",
        "aud": ["auth-service"],
        "sub": "deploy",
        "nonce": uuid4().hex,
        "iat": moment,
        "exp": moment + 300,
        "account": "analytics-batch",
        "scopes": ["conversations:read"],
        "tenant_id": str(tenant.id),
    }


@pytest.fixture
def shared_secret(configure):
    configure(service_issue_verifier="hmac")
    configure(service_issue_secret=SECRET)
    for name in ("service_issue_rate_limit_per_minute", "service_issue_global_rate_limit_per_minute"):
        configure(**{name: 0})


@pytest.fixture
def issue(http, claims, shared_secret):
    """issue(body={...}, payload=..., authorization=...) -> the answer; None leaves a header out."""

    def send(body=None, payload=..., authorization=..., **changed):
        signed = {name: value for name, value in {**claims, **changed}.items() if value is not ...}
        raw = json.dumps(signed).encode() if payload is ... else payload
        unsigned = {name: claims[name] for name in ("account", "scopes", "tenant_id")} | (body or {})
        headers = {
            "X-Vault-Payload": encoded(raw) if isinstance(raw, bytes) else raw,
            "Authorization": f"Bearer vault:{sign(raw)}" if authorization is ... else authorization,
        }
        return http.simulate_post(
            "/api/v1/auth/service-accounts/issue",
            json={name: value for name, value in unsigned.items() if value is not ...},
            headers={name: value for name, value in headers.items() if value is not None},
        )

    return send


def test_a_signed_request_gets_one_token(issue, tenant):
    answer = issue()
    assert answer.status_code == 201 and answer.headers["Cache-Control"] == "no-store"
    assert (answer.json["account"], answer.json["tenant_id"]) == ("analytics-batch", str(tenant.id))
    assert answer.json["token_use"] == "refresh" and answer.json["issued_at"].endswith("+00:00")
    token = ServiceToken.get()
    assert (str(token.id), token.issued_by) == (answer.json["session_id"], "signer:deploy@ci")
    assert AuditEvent.get(AuditEvent.action == "auth.service_token_issued").actor == "signer:deploy@ci"
    assert status_and_message(issue(body={"force": True})) == (401, "Vault payload nonce already used.")


def test_a_signer_cannot_pose_as_a_user(issue):
    assert issue(sub="user:01a20ac7-784f-712d-8112-15c292557957").status_code == 201
    assert ServiceToken.get().issued_by.startswith("signer:user:")


def test_only_one_of_many_parallel_replays_is_accepted(issue):
    def replay(_):
        try:
            return issue().status_code
        finally:
            release()

    with ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(replay, range(12))) == [201] + [401] * 11
    assert ServiceToken.select().count() == 1


@pytest.mark.parametrize(
    ("authorization", "payload", "expected"),
    [
        ("Basic abc", ..., (401, "Authorization header must use Bearer scheme.")),
        ("Bearer vault:x", None, (401, "Missing X-Vault-Payload header.")),
        ("Bearer abc", ..., (401, "Vault-signed credential required for service-account issuance.")),
        ("Bearer dev-local", ..., (401, "Vault-signed credential required for service-account issuance.")),
        ("Bearer vault:x", ..., (401, "Invalid Vault signature.")),
        ("Bearer vault:é", ..., (401, "Invalid Vault signature.")),
        ("Bearer vault:x", "%%%", (400, "Invalid Vault payload encoding.")),
        (..., b"{", (400, "Invalid Vault payload JSON.")),
        (..., b"[]", (400, "Unexpected Vault payload shape.")),
    ],
)
def test_an_unsigned_request_is_refused(issue, authorization, payload, expected):
    if isinstance(authorization, str):
        authorization = authorization.encode().decode("latin-1")
        payload = b"{}" if payload is ... else payload
    answer = issue(authorization=authorization, payload=payload)
    assert status_and_message(answer) == expected and "WWW-Authenticate" not in answer.headers
    assert ServiceToken.select().count() == 0


def test_a_missing_authorization_header_is_a_validation_error(issue):
    answer = issue(authorization=None)
    assert answer.status_code == 422 and answer.json["detail"][0]["loc"] == ["header", "Authorization"]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        *[({name: ...}, (401, f"Vault payload missing fields: {name}")) for name in ("iss", "aud", "sub", "account")],
        ({"nonce": ...}, (401, "Vault payload missing fields: nonce")),
        ({"iat": ..., "exp": None}, (401, "Vault payload missing fields: iat, exp")),
        ({"aud": ["agent-api"]}, (401, "Vault payload audience invalid.")),
        ({"aud": "auth-service"}, (401, "Vault payload audience invalid.")),
        ({"scopes": "conversations:read"}, (401, "Vault payload scopes must be a list.")),
        ({"lifetime_minutes": 0}, (401, "Vault payload lifetime_minutes must be a positive integer.")),
        ({"lifetime_minutes": "9"}, (401, "Vault payload lifetime_minutes must be a positive integer.")),
        ({"fingerprint": 9}, (401, "Vault payload fingerprint invalid.")),
        ({"iat": "now"}, (401, "Vault payload missing iat.")),
        ({"exp": True}, (401, "Vault payload missing exp.")),
        ({"account": "billing-worker"}, (400, "Vault payload account mismatch.")),
        ({"tenant_id": ...}, (400, "Vault payload tenant mismatch.")),
        ({"scopes": ["billing:read"]}, (400, "Vault payload scopes mismatch.")),
    ],
)
def test_invalid_claims_are_named(issue, changed, expected):
    assert status_and_message(issue(**changed)) == expected
    assert ServiceToken.select().count() == 0


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ({"exp": -1}, "Vault payload expired."),
        ({"iat": 60, "exp": 300}, "Vault payload iat is in the future."),
        ({"iat": -601, "exp": 60}, "Vault payload iat outside acceptable window."),
        ({"exp": 601}, "Vault payload iat outside acceptable window."),
    ],
)
def test_a_payload_is_valid_for_ten_minutes_at_most(issue, claims, shift, expected):
    moved = {name: claims["iat"] + seconds for name, seconds in shift.items()}
    assert status_and_message(issue(**moved)) == (401, expected)


@pytest.mark.parametrize(
    ("body", "changed", "message"),
    [
        ({"lifetime_minutes": 5}, {}, "Vault payload missing lifetime_minutes."),
        ({"lifetime_minutes": 5}, {"lifetime_minutes": 6}, "Vault payload lifetime_minutes mismatch."),
        ({"fingerprint": "a"}, {}, "Vault payload missing fingerprint."),
        ({"fingerprint": "a"}, {"fingerprint": "b"}, "Vault payload fingerprint mismatch."),
        ({"force": True}, {}, "Vault payload force mismatch."),
        ({"tenant_id": ...}, {}, "Vault payload tenant mismatch."),
    ],
)
def test_the_body_may_not_contain_anything_unsigned(issue, body, changed, message):
    assert status_and_message(issue(body=body, **changed)) == (400, message)


def test_signed_values_fill_in_what_the_body_omits(issue):
    assert issue(lifetime_minutes=7, fingerprint="host-1").status_code == 201
    token = ServiceToken.get()
    assert (token.expires_at - token.created_at).total_seconds() == 7 * 60 and token.fingerprint == "host-1"
    assert issue(body={"force": True}, nonce=uuid4().hex, force=True).status_code == 201


def test_without_a_valid_signature_no_claim_is_checked(issue):
    assert status_and_message(issue(authorization=f"Bearer vault:{'0' * 64}", account="other", exp=0)) == (
        401,
        "Invalid Vault signature.",
    )


def test_signed_requests_are_refused_while_redis_is_away(issue, configure):
    configure(redis_url="redis://127.0.0.1:1/0")
    assert issue().status_code == 503
    assert ServiceToken.select().count() == 0


# ---------------------------------------------------------------- development


@pytest.mark.parametrize(("verifier", "status"), [("off", 201), ("hmac", 401)])
def test_the_developer_credential_works_only_where_no_verifier_is_set(issue, configure, verifier, status):
    configure(service_issue_verifier=verifier, service_issue_dev_local=True)
    assert issue(authorization="Bearer dev-local").status_code == status


def test_signatures_are_refused_where_no_verifier_is_set(issue, configure):
    configure(service_issue_verifier="off")
    assert status_and_message(issue()) == (503, "Vault verification disabled; cannot accept vault credentials.")


# ---------------------------------------------------------------- Vault


class Transit(BaseHTTPRequestHandler):
    """The verify endpoint of Vault's Transit engine, with HMAC for its key."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.decide(body)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def decide(self, body):
        self.server.seen.append((self.path, dict(self.headers)))
        if self.server.broken:
            return self.server.broken
        if self.headers["X-Vault-Token"] != "vault-token":
            return 403, {"errors": ["permission denied"]}
        if not body["signature"].startswith("vault:v1:"):
            return 400, {"errors": ["invalid signature"]}
        payload = base64.urlsafe_b64decode(base64.b64decode(body["input"]))
        return 200, {"data": {"valid": hmac.compare_digest(body["signature"], f"vault:v1:{sign(payload)}")}}

    def log_message(self, *args):
        pass


@pytest.fixture
def vault(configure):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Transit)
    server.seen, server.broken = [], None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    configure(vault_addr=f"http://127.0.0.1:{server.server_port}/")
    configure(vault_token="vault-token")
    configure(vault_namespace="team")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def by_vault(issue, claims, vault, configure):
    configure(service_issue_verifier="vault")

    def send(signature=None, **more):
        raw = json.dumps(claims).encode()
        return issue(payload=raw, authorization=f"Bearer vault:{signature or f'vault:v1:{sign(raw)}'}", **more)

    return send


def test_vault_verifies_the_signature(by_vault, vault):
    assert by_vault().status_code == 201
    [(path, headers)] = vault.seen
    assert path == "/v1/transit/verify/auth-service" and headers["X-Vault-Namespace"] == "team"


@pytest.mark.parametrize("signature", ["vault:v1:0000", "rubbish"])
def test_a_signature_that_vault_rejects_is_refused(by_vault, signature):
    assert status_and_message(by_vault(signature)) == (401, "Invalid Vault signature.")


@pytest.mark.parametrize(
    "broken", [(500, {}), (403, {"errors": ["secret detail"]}), (200, {}), (200, {"data": None}), (200, [])]
)
def test_an_error_from_vault_is_not_taken_for_a_valid_signature(by_vault, vault, broken):
    vault.broken = broken
    answer = by_vault()
    assert status_and_message(answer) == (503, "Secrets provider cannot verify signatures.")
    assert "secret detail" not in answer.text and ServiceToken.select().count() == 0


def test_an_unreachable_vault_is_not_taken_for_a_valid_signature(by_vault, configure):
    configure(vault_addr="http://127.0.0.1:1")
    assert status_and_message(by_vault()) == (503, "Secrets provider cannot verify signatures.")


@pytest.mark.parametrize("missing", ["vault_addr", "vault_token"])
def test_a_verifier_without_its_settings_reports_that(by_vault, configure, missing):
    configure(**{missing: None})
    assert status_and_message(by_vault()) == (503, "Secrets provider not configured for Vault verification.")
    assert any("VAULT_ADDR or VAULT_TOKEN" in line for line in startup_checks.problems(settings))


def test_requests_to_vault_time_out_after_five_seconds():
    client = vault_gateway._client("http://127.0.0.1:1", "token", None)
    assert client.adapter._kwargs["timeout"] == vault_gateway.TIMEOUT == 5
