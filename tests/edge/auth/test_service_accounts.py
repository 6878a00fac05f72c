"""Service accounts: issuing tokens, what machines do with them, and who manages them."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from models.auth import authority, operators, service_account_catalogue, service_token_issuing, service_tokens
from models.auth.service_token_issuing import ServiceTokenExists, ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.auth.sessions import RefreshToken
from models.auth.tenants import Tenant
from models.conversations.chat_context import ChatContext
from models.conversations.conversation import Conversation
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import release
from models.platform.ids import uuid7
from models.platform.principal import ANY_SCOPE, PLATFORM_OPERATOR, Principal, Root
from models.runs.run import Run
from tests.support.accounts import bearer, is_open, log_in, status_and_message

REASON = "a nightly report"


@pytest.fixture(autouse=True)
def no_limits(configure):
    for name in ("service_issue_rate_limit_per_minute", "service_issue_global_rate_limit_per_minute"):
        configure(**{name: 0})


@pytest.fixture
def issue(post, tenant):
    """Issue a token with the developer's credential: these tests run with the settings of development."""

    def send(account="analytics-batch", scopes=("conversations:read",), tenant_id=..., **more):
        body = {"account": account, "scopes": list(scopes), **more}
        body |= {"tenant_id": str(tenant.id)} if tenant_id is ... else {"tenant_id": tenant_id}
        return post("service-accounts/issue", {"Authorization": "Bearer dev-local"}, **body)

    return send


@pytest.fixture
def exchange(http):
    """exchange(refresh token) -> the answer, which has the same refresh token again."""
    return lambda token: http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": token})


@pytest.fixture
def machine(issue, exchange):
    """machine("analytics-batch", scopes) -> (headers with an access token, its refresh token)."""

    def make(*args, **more):
        refresh = issue(*args, **more).json["refresh_token"]
        return bearer(exchange(refresh).json), refresh

    return make


@pytest.fixture
def browser(post, tenant):
    def send(headers, account="analytics-batch", scopes=("conversations:read",), reason=REASON, **more):
        return post(
            "service-accounts/browser-issue", headers, account=account, scopes=list(scopes), reason=reason, **more
        )

    return send


@pytest.fixture
def elsewhere(issue):
    """(another tenant, the jti of its token)."""
    other = Tenant.create(slug="other", name="Other")
    return other, issue(tenant_id=str(other.id)).json["session_id"]


def listed(http, headers, **query):
    answer = http.simulate_get("/api/v1/auth/service-accounts/tokens", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return [item["jti"] for item in answer.json["items"]]


def overriding(headers, reason="a customer called"):
    return {**headers, "X-Operator-Override": "true", **({"X-Operator-Reason": reason} if reason else {})}


# ---------------------------------------------------------------- rules of issuing


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"account": "nobody"}, (400, "Service account 'nobody' is not defined.")),
        ({"tenant_id": None}, (400, "Service account 'analytics-batch' requires a tenant identifier.")),
        ({"tenant_id": "x"}, (400, "The tenant identifier is not a UUID.")),
        ({"tenant_id": "01a20ac7-784f-712d-8112-15c292557957"}, (404, "Tenant not found.")),
        ({"account": "demo-bot"}, (400, "Service account 'demo-bot' does not accept tenant identifiers.")),
        ({"scopes": []}, (400, "At least one scope must be requested.")),
        (
            {"scopes": ["tools:read", "conversations:read", "billing:read"]},
            (400, "Unsupported scopes requested: ['billing:read', 'tools:read']"),
        ),
        ({"lifetime_minutes": 0}, (400, "Requested lifetime must be positive.")),
        (
            {"lifetime_minutes": 43_201},
            (400, "Requested lifetime 43201 exceeds max 43200 for account 'analytics-batch'."),
        ),
    ],
)
def test_a_token_outside_the_catalogue_is_not_issued(issue, change, expected):
    assert status_and_message(issue(**change)) == expected
    assert ServiceToken.select().count() == 0


def test_attempts_are_limited_per_account_and_in_total(issue, configure):
    configure(service_issue_rate_limit_per_minute=2)
    configure(service_issue_global_rate_limit_per_minute=3)
    assert [issue(scopes=[]).status_code for _ in range(2)] == [400, 400]
    refused = issue()
    text = "Issuance rate limit exceeded for account 'analytics-batch'. Retry later."
    assert status_and_message(refused) == (429, text) and 0 < int(refused.headers["Retry-After"]) <= 60
    assert issue("demo-bot", tenant_id=None).status_code == 201
    text = "Global service-account issuance rate limit exceeded. Retry later."
    assert status_and_message(issue("demo-bot", ["chat:write"], tenant_id=None)) == (429, text)


def test_a_live_token_is_not_shown_again_but_may_be_replaced(issue):
    first = issue(scopes=["conversations:read", "conversations:read"]).json
    assert first["scopes"] == ["conversations:read"]
    again = issue()
    assert again.status_code == 409 and again.json["details"]["jti"] == first["session_id"]
    assert first["refresh_token"] not in again.text
    second = issue(force=True).json
    old = ServiceToken.get_by_id(first["session_id"])
    assert old.revoked_reason == "replaced" and not is_open(old.id)
    assert is_open(second["session_id"])


def test_an_expired_token_does_not_block_a_new_one(issue):
    assert issue().status_code == 201
    ServiceToken.update(expires_at=now()).execute()
    assert issue().status_code == 201


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("account", ["analytics-batch", "demo-bot"])
def test_parallel_issues_leave_one_live_token(tenant, force, account):
    def issue(_):
        try:
            tenant_id = str(tenant.id) if account == "analytics-batch" else None
            request = ServiceTokenRequest(account, ["conversations:read"], tenant_id, force=force)
            return service_token_issuing.issue(request, by=Root("test"))[0]
        except ServiceTokenExists:
            return None
        finally:
            release()

    with ThreadPoolExecutor(8) as pool:
        issued = [token for token in pool.map(issue, range(8)) if token]
    assert len(issued) == (8 if force else 1)
    live = list(ServiceToken.select().where(ServiceToken.revoked_at.is_null()))
    assert len(live) == 1
    assert [token.id for token in issued if is_open(token.id)] == [live[0].id]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("x = [", "cannot be used"),
        ('[a]\ndescription = "too short a name"\nscopes = ["a:b"]\nmax_lifetime = 1', "cannot be used"),
        ('[name]\ndescription = "no scopes"\nscopes = []\nmax_lifetime = 1', "scopes"),
        ('[name]\ndescription = "long"\nscopes = ["a:b"]\nmax_lifetime = 43201', "max_lifetime"),
        ('[name]\ndescription = "longer"\nscopes = ["a:b"]\nmax_lifetime = 5\nlifetime = 6', "exceeds max_lifetime"),
        ('[name]\ndescription = "odd"\nscopes = ["a:b"]\nmax_lifetime = 5\nsecret = 1', "secret"),
        (None, "cannot be used"),
    ],
)
def test_an_invalid_catalogue_stops_the_process_with_the_reason(tmp_path, text, problem):
    path = tmp_path / "accounts.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit, match=problem) as stop:
        service_account_catalogue.read_catalogue(path)
    assert str(path) in str(stop.value)


# ---------------------------------------------------------------- what machines do


def test_a_machine_sees_its_tenant_within_its_scopes(http, machine, person, ask, tenant):
    ask(person(), "hello", "one")
    ask(person(), "hello", "two")
    headers, _ = machine()
    page = http.simulate_get("/api/v1/conversations", headers=headers).json
    assert {item["conversation_id"] for item in page["items"]} == {"one", "two"}
    assert http.simulate_post("/api/v1/chat", headers=headers, json={"message": "hi"}).status_code == 403
    other = {**headers, "X-Tenant-Id": str(Tenant.create(slug="o", name="O").id)}
    assert http.simulate_get("/api/v1/conversations", headers=other).status_code == 403


def test_a_machines_conversation_belongs_to_no_user(machine, http, tenant, configure):
    headers, _ = machine("synthetic-monitor", ["conversations:write"])
    configure(chat_wait_seconds=0.01)
    assert http.simulate_post("/api/v1/chat", headers=headers, json={"message": "alive?"}).status_code == 504
    run = Run.get()
    assert (run.user_id, run.tenant_id, Conversation.get().user_id) == (None, tenant.id, None)
    context = ChatContext.begin(run.id, history_limit=10)
    assert context.history[-1]["content"] == "alive?" and context.user_name is None


def test_a_machines_token_can_be_exchanged_until_it_is_revoked(http, machine, exchange):
    headers, refresh = machine()
    again = exchange(refresh)
    assert again.status_code == 200 and again.json["user_id"] == "service-account:analytics-batch"
    operator = Principal(uuid7(), None, "owner", frozenset([PLATFORM_OPERATOR]), None, True, override="a call")
    ServiceToken.revoke(operator, ServiceToken.get().id, "leaked")
    assert http.simulate_get("/api/v1/conversations", headers=headers).status_code == 401
    assert status_and_message(exchange(refresh)) == (401, "Refresh token has been revoked or expired.")


def test_an_access_token_does_not_outlive_its_refresh_token(issue, exchange):
    issued = issue(lifetime_minutes=5).json
    tokens = exchange(issued["refresh_token"]).json
    assert tokens["expires_at"] == tokens["refresh_expires_at"]
    ServiceToken.update(expires_at=now()).execute()
    assert exchange(issued["refresh_token"]).status_code == 401


def test_scopes_removed_from_the_catalogue_are_lost(issue, exchange, monkeypatch):
    refresh = issue("billing-worker", ["billing:read", "billing:manage"]).json["refresh_token"]
    account = service_account_catalogue.catalogue()["billing-worker"]
    reduced = {"billing-worker": account.model_copy(update={"scopes": ["billing:read"]})}
    monkeypatch.setattr(authority, "catalogue", lambda: reduced)
    assert exchange(refresh).json["scopes"] == ["billing:read"]
    monkeypatch.setattr(service_tokens, "catalogue", dict)
    assert status_and_message(exchange(refresh)) == (401, "The service account is not defined any more.")


def test_exchanges_are_limited_per_token(issue, exchange, configure):
    configure(auth_refresh_rate_limit_per_minute=2)
    refresh = issue().json["refresh_token"]
    assert [exchange(refresh).status_code for _ in range(3)] == [200, 200, 429]


def test_an_operators_machine_without_a_tenant_acts_in_the_one_it_names(http, machine, tenant, person, ask):
    ask(person(), "hello", "one")
    headers, _ = machine("support-console", ["support:*"], tenant_id=None)

    def conversations(**more):
        reason = {"X-Operator-Reason": "a customer called"}
        return http.simulate_get("/api/v1/conversations", headers={**headers, **reason, **more})

    assert conversations().status_code == 401
    assert len(conversations(**{"X-Tenant-Id": str(tenant.id)}).json["items"]) == 1
    for unknown in ("x", "01a20ac7-784f-712d-8112-15c292557957"):
        assert conversations(**{"X-Tenant-Id": unknown}).status_code == 403


def test_other_machines_without_a_tenant_cannot_name_one(http, machine, tenant):
    headers, _ = machine("demo-bot", tenant_id=None)
    answer = http.simulate_get("/api/v1/conversations", headers={**headers, "X-Tenant-Id": str(tenant.id)})
    assert (answer.status_code, answer.json["error"]) == (403, "tenant_mismatch")


# ---------------------------------------------------------------- admins


@pytest.mark.parametrize(("role", "allowed"), [("viewer", False), ("member", False), ("admin", True), ("owner", True)])
def test_admins_manage_the_tokens_of_their_tenant(http, browser, post, signed, tenant, issue, role, allowed):
    headers, user = signed(role)
    answers = [
        browser(headers),
        http.simulate_get("/api/v1/auth/service-accounts/tokens", headers=headers),
        post(f"service-accounts/tokens/{issue(force=True).json['session_id']}/revoke", headers),
    ]
    assert [answer.status_code for answer in answers] == ([201, 200, 200] if allowed else [403] * 3)
    if allowed:
        event = AuditEvent.get((AuditEvent.action == "auth.service_token_issued") & (AuditEvent.reason == REASON))
        assert (event.actor, event.tenant_id) == (f"user:{user.id}", tenant.id)
        assert answers[0].json["tenant_id"] == str(tenant.id)
    else:
        text = "Tenant admin privileges required or set X-Operator-Override header to act as operator."
        assert {answer.json["message"] for answer in answers} == {text}


def test_an_unverified_admin_or_one_with_a_lowered_role_manages_no_tokens(browser, signed):
    headers, _ = signed("admin", verified=False)
    assert browser(headers).status_code == 403
    headers, _ = signed("admin")
    assert browser({**headers, "X-Tenant-Role": "member"}).status_code == 403


def test_an_admin_cannot_reach_other_tenants(http, browser, post, signed, elsewhere):
    (other, jti), (headers, _) = elsewhere, signed("owner")
    assert status_and_message(browser(headers, tenant_id=str(other.id))) == (
        403,
        "Tenant mismatch for service-account issuance.",
    )
    assert browser(headers, "demo-bot").status_code == 400  # nor tokens without a tenant
    assert listed(http, headers, include_global="true") == []
    refused = http.simulate_get(f"/api/v1/auth/service-accounts/tokens?tenant_id={other.id}", headers=headers)
    assert status_and_message(refused) == (403, "Tenant administrators may only query their own tenant.")
    assert status_and_message(post(f"service-accounts/tokens/{jti}/revoke", headers)) == (404, "Token not found.")
    assert is_open(jti)


def test_users_refresh_tokens_are_neither_listed_nor_revoked(http, post, signed):
    headers, _ = signed("owner")
    jti = str(RefreshToken.get().id)
    assert listed(http, headers, status="all") == []
    for target in (jti, "nonsense", "0" * 300):
        assert post(f"service-accounts/tokens/{target}/revoke", headers).status_code == 404
    assert RefreshToken.get().revoked_at is None


@pytest.mark.parametrize("reason", ["too short", " " * 10, "x" * 513])
def test_a_token_is_not_issued_without_a_proper_reason(browser, signed, reason):
    headers, _ = signed("owner")
    assert browser(headers, reason=reason).status_code in (400, 422)
    assert ServiceToken.select().count() == 0


def test_a_second_revocation_keeps_the_first_reason(post, signed, issue):
    headers, _ = signed("admin")
    jti = issue().json["session_id"]
    for reason in ("leaked", "again"):
        assert post(f"service-accounts/tokens/{jti}/revoke", headers, reason=reason).json["data"] == {"jti": jti}
    assert ServiceToken.get().revoked_reason == "leaked"
    jti = issue().json["session_id"]
    post(f"service-accounts/tokens/{jti}/revoke", headers)
    assert ServiceToken.get_by_id(jti).revoked_reason == "tenant_admin_manual_revoke"


def test_tokens_are_filtered_by_account_fingerprint_and_status(http, signed, issue):
    headers, _ = signed("admin")
    one = issue(fingerprint="host-1").json["session_id"]
    two = issue("billing-worker", ["billing:read"]).json["session_id"]
    three = issue("billing-worker", ["billing:manage"]).json["session_id"]
    ServiceToken.update(revoked_at=now()).where(ServiceToken.id == two).execute()
    ServiceToken.update(expires_at=now() - timedelta(1)).where(ServiceToken.id == three).execute()
    assert listed(http, headers) == [one]
    assert listed(http, headers, status="revoked") == [two]
    assert listed(http, headers, status="all") == [three, two, one]
    assert listed(http, headers, status="all", account="BILLING") == [three, two]
    assert listed(http, headers, status="all", account="%") == listed(http, headers, account="analytics_batch") == []
    assert listed(http, headers, status="all", fingerprint="host-1") == [one]
    assert listed(http, headers, status="all", limit="1", offset="1") == [two]
    answer = http.simulate_get("/api/v1/auth/service-accounts/tokens?tenant_id=x", headers=headers)
    assert answer.status_code in (400, 403)


# ---------------------------------------------------------------- operators


def test_an_override_needs_an_operator_and_a_reason(http, signed):
    owner, _ = signed("owner")
    operator, _ = signed("viewer", operator=True)

    def answer(headers):
        return http.simulate_get("/api/v1/auth/service-accounts/tokens", headers=headers)

    assert status_and_message(answer(overriding(owner))) == (
        403,
        "Platform operator scope (support:*) required for override.",
    )
    for reason in (None, "   "):
        text = "X-Operator-Reason header is required when X-Operator-Override is true."
        assert status_and_message(answer(overriding(operator, reason))) == (400, text)
    assert answer(overriding(operator)).status_code == 200
    assert answer({**operator, "X-Operator-Override": "false"}).status_code == 403


def test_an_operator_acts_in_any_tenant_and_the_reason_is_audited(http, browser, post, signed, elsewhere, issue):
    (other, theirs), (headers, user) = elsewhere, signed("viewer", operator=True)
    free = issue("demo-bot", tenant_id=None).json["session_id"]
    mine = issue().json["session_id"]
    act = overriding(headers)
    assert listed(http, act) == [mine, free, theirs]
    assert listed(http, act, tenant_id=str(other.id)) == [theirs]
    assert listed(http, act, include_global="true") == [free]
    assert listed(http, act, tenant_id=str(other.id), include_global="true") == [free, theirs]
    assert http.simulate_get("/api/v1/auth/service-accounts/tokens?tenant_id=x", headers=act).status_code == 400
    assert post(f"service-accounts/tokens/{theirs}/revoke", act).status_code == 200
    assert ServiceToken.get_by_id(theirs).revoked_reason == "a customer called"
    event = AuditEvent.get(AuditEvent.action == "auth.service_token_revoked")
    assert (event.actor, event.tenant_id) == (f"user:{user.id}", other.id)


def test_an_operator_with_any_scope_issues_tokens_for_any_tenant_and_for_none(browser, signed, elsewhere):
    (other, _), (_, user) = elsewhere, signed("viewer")
    operators.grant(user.email, [ANY_SCOPE], by=Root("test"))
    act = overriding({"Authorization": f"Bearer {log_in(user.email).access_token}"})
    assert browser(act, "billing-worker", ["billing:read"], tenant_id=str(other.id)).json["tenant_id"] == str(other.id)
    assert browser(act, "support-console", ["support:*"]).json["tenant_id"] is None
