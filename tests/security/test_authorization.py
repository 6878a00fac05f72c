"""Who may do what: nobody gives or gains what they lack, other tenants take a reason, machines do what they were given."""

import pytest
from peewee import PeeweeException

from models.auth import operators, password_changes, service_token_issuing, token_refresh
from models.auth.password_changes import ResetNotAllowed
from models.auth.service_token_issuing import ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.auth.tenants import Tenant
from models.auth.users import Membership, PasswordNotTheirs
from models.conversations.conversation import Conversation, Message
from models.conversations.search import search_own
from models.platform import audit
from models.platform.audit import AuditEvent
from models.platform.authorization import OutOfReach
from models.platform.database import transaction
from models.platform.principal import Principal, Root, scopes_for
from models.runs.run import Run
from tests.support.accounts import CHEAP_HASHER, NEW, PASSWORD, InterruptedHasher, log_in, reloaded
from tests.support.routes import assert_envelope

ROOT = Root("test")
REASON = "a customer called"
TOKENS = "/api/v1/auth/service-accounts/tokens"
ISSUE = "/api/v1/auth/service-accounts/browser-issue"


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens.access_token}", "Host": "localhost"}


def overriding(headers, reason=REASON, **more):
    return {**headers, "X-Operator-Override": "true", **({"X-Operator-Reason": reason} if reason else {}), **more}


def crossings():
    return list(AuditEvent.select().where(AuditEvent.action == "operator.acted_elsewhere").order_by(AuditEvent.id))


@pytest.fixture(autouse=True)
def no_limits(configure):
    for name in ("service_issue_rate_limit_per_minute", "service_issue_global_rate_limit_per_minute"):
        configure(**{name: 0})


@pytest.fixture
def operator(signed):
    """operator("support:*", role="viewer") -> (headers, user) of an operator with these grants."""

    def make(*scopes, role="viewer", **more):
        _, user = signed(role, **more)
        operators.grant(user.email, list(scopes), by=ROOT)
        return bearer(log_in(user.email)), user

    return make


@pytest.fixture
def machine(tenant):
    """machine("synthetic-monitor", "conversations:write") -> headers with its access token, issued by a deployment."""

    def make(account, *scopes, tenant=tenant):
        request = ServiceTokenRequest(account, list(scopes), str(tenant.id) if tenant else None)
        _, refresh = service_token_issuing.issue(request, by=ROOT)
        return bearer(token_refresh.refresh(refresh))

    return make


@pytest.fixture
def victim(tenant, signed, ask_as):
    """(a user of another tenant with a conversation, that tenant)."""
    other = Tenant.create(slug="victim", name="Victim")
    _, user = signed("owner", tenant=other)
    principal = Principal(user.id, other.id, "owner", frozenset(scopes_for("owner")), None, True)
    return principal, other


@pytest.fixture
def diary(victim, ask):
    """The victim's conversation, by its key."""
    ask(victim[0], "a secret", "diary")
    return "/api/v1/conversations/diary"


def issue(http, headers, account, *scopes, **more):
    body = {"account": account, "scopes": list(scopes), "reason": "a nightly report", **more}
    return http.simulate_post(ISSUE, json=body, headers=headers)


# ---------------------------------------------------------------- nobody gives or gains what they lack


@pytest.mark.parametrize("scope", ["platform:operator", "support:*"])
def test_an_owner_cannot_reset_the_password_of_a_member_who_is_an_operator(signed, reset, scope):
    (owner, _), (_, member) = signed("owner"), signed("member")
    operators.grant(member.email, [scope], by=ROOT)
    assert_envelope(reset(owner, member.id), 403, "reset_not_allowed")
    assert CHEAP_HASHER.matches(reloaded(member).password_hash, PASSWORD)


def test_an_owner_who_holds_the_same_grant_may_reset_it(operator, signed, reset):
    (owner, _), (_, member) = operator("status:operate", role="owner"), signed("member")
    operators.grant(member.email, ["status:operate"], by=ROOT)
    assert reset(owner, member.id).status_code == 200


def test_a_grant_that_arrives_while_an_admin_sets_the_password_stops_the_reset(signed, http_with):
    (owner, _), (_, member) = signed("owner"), signed("member")
    hasher = InterruptedHasher(before_hash=lambda _: operators.grant(member.email, ["support:*"], by=ROOT))
    body = {"user_id": str(member.id), "new_password": NEW}
    answer = http_with(hasher).simulate_post("/api/v1/auth/password/reset", json=body, headers=owner)
    assert_envelope(answer, 403, "reset_not_allowed")
    assert CHEAP_HASHER.matches(reloaded(member).password_hash, PASSWORD)


def test_a_membership_elsewhere_that_arrives_meanwhile_stops_the_reset(signed, person):
    admin, (_, member) = person("owner"), signed("member")
    user = password_changes.user_to_reset(admin, member.id)
    Membership.create(user=member.id, tenant=Tenant.create(slug="second", name="Second").id, role="viewer")
    with pytest.raises(ResetNotAllowed), transaction():
        password_changes.reset_by_admin(admin, user, "a hash")
    assert reloaded(member).password_hash == user.password_hash


def test_a_user_whose_password_an_admin_has_set_gets_no_grant_until_they_choose_their_own(signed, reset, change):
    (owner, _), (_, member) = signed("owner"), signed("member")
    assert reset(owner, member.id).status_code == 200
    with pytest.raises(PasswordNotTheirs):
        operators.grant(member.email, ["platform:operator"], by=ROOT)
    assert change(bearer(log_in(member.email, NEW)), new="orange ladder submarine", current=NEW).status_code == 200
    assert operators.grant(member.email, ["platform:operator"], by=ROOT).id == member.id


def test_a_platform_operator_cannot_issue_themselves_any_scope(http, operator):
    headers, _ = operator("platform:operator", role="owner")
    assert_envelope(issue(http, overriding(headers), "support-console", "support:*"), 403, "out_of_reach")
    assert ServiceToken.select().count() == 0


def test_a_platform_operator_has_no_scopes_of_their_own_tenant_to_give_in_another(http, operator, victim):
    headers, _ = operator("platform:operator", role="owner")
    answer = issue(http, overriding(headers), "analytics-batch", "conversations:read", tenant_id=str(victim[1].id))
    assert_envelope(answer, 403, "out_of_reach")
    assert ServiceToken.select().count() == 0


def test_whoever_holds_any_scope_may_issue_it_in_any_tenant(http, operator, victim):
    headers, user = operator("support:*")
    assert issue(http, overriding(headers), "support-console", "support:*").status_code == 201
    answer = issue(http, overriding(headers), "billing-worker", "billing:manage", tenant_id=str(victim[1].id))
    assert answer.status_code == 201
    actions = ("auth.service_token_issued",)
    events = AuditEvent.select().where(AuditEvent.action.in_(actions)).order_by(AuditEvent.id)
    assert [(event.actor, event.tenant_id) for event in events] == [
        (f"user:{user.id}", None),
        (f"user:{user.id}", victim[1].id),
    ]


def test_an_admin_cannot_issue_a_scope_that_they_lack(http, signed, monkeypatch):
    catalogue = service_token_issuing.catalogue()
    wide = catalogue["analytics-batch"].model_copy(update={"scopes": ["status:operate", "conversations:*"]})
    monkeypatch.setattr(service_token_issuing, "catalogue", lambda: {"wide-account": wide})
    admin, _ = signed("admin")
    for scope in wide.scopes:
        assert_envelope(issue(http, admin, "wide-account", scope), 403, "out_of_reach")


@pytest.mark.parametrize("override", [None, REASON])
def test_an_operator_gives_only_grants_that_they_hold_and_only_with_a_reason(signed, override):
    (_, one), (_, two) = signed(), signed()
    by = Principal(one.id, None, "owner", frozenset(["platform:operator"]), None, True, override=override)
    with pytest.raises(OutOfReach):
        operators.grant(two.email, ["support:*"], by=by)
    if override:
        operators.grant(two.email, ["platform:operator"], by=by)
    else:
        with pytest.raises(OutOfReach):
            operators.grant(two.email, ["platform:operator"], by=by)
    assert operators.scopes_of(two.id) == (["platform:operator"] if override else [])


# ---------------------------------------------------------------- other tenants take a reason and leave an audit row


@pytest.fixture(params=["machine", "user"])
def supporter(request, machine, operator, victim):
    """(headers of somebody with any scope, who names the victim's tenant; their subject in the audit log)."""
    tenant = {"X-Tenant-Id": str(victim[1].id)}
    if request.param == "machine":
        return {**machine("support-console", "support:*", tenant=None), **tenant}, "service-account:support-console"
    headers, user = operator("support:*")
    return {**headers, **tenant, "X-Operator-Override": "true"}, f"user:{user.id}"


CALLS = [
    ("GET", "/api/v1/conversations", "conversation.read", 200),
    ("GET", "/api/v1/conversations/diary", "conversation.read", 200),
    ("GET", "/api/v1/conversations/diary/events", "conversation.read", 200),
    ("HEAD", "/api/v1/conversations/diary", "conversation.read", 200),
    ("GET", "/api/v1/conversations/unknown", "conversation.read", 404),
    ("DELETE", "/api/v1/conversations/diary", "conversation.delete", 204),
    ("POST", "/api/v1/chat", "conversation.ask", 409),
]


@pytest.mark.parametrize(("method", "path", "action", "status"), CALLS)
def test_another_tenant_takes_a_reason_and_leaves_an_audit_row(
    http, supporter, victim, diary, method, path, action, status
):
    (headers, subject), (_, other) = supporter, victim
    body = {"message": "hello", "conversation_id": "diary"} if method == "POST" else None
    for reason in ({}, {"X-Operator-Reason": "  "}):
        answer = http.simulate_request(method, path, headers={**headers, **reason}, json=body)
        assert answer.status_code == 400
    assert (crossings(), Message.select().count(), Conversation.select().count()) == ([], 1, 1)
    answer = http.simulate_request(method, path, headers={**headers, "X-Operator-Reason": REASON}, json=body)
    assert answer.status_code == status
    [event] = crossings()
    assert (event.actor, event.tenant_id, event.reason) == (subject, other.id, REASON)
    assert event.details == {"operation": action, "request": f"{method} {path}"}


def test_a_user_with_any_scope_stays_at_home_without_an_override(http, operator, victim, diary):
    headers, _ = operator("support:*")
    answer = http.simulate_get(diary, headers={**headers, "X-Tenant-Id": str(victim[1].id)})
    assert_envelope(answer, 403, "tenant_mismatch")


def test_a_platform_operator_reads_no_conversations_of_other_tenants(http, operator, victim, diary):
    headers, _ = operator("platform:operator", role="owner")
    answer = http.simulate_get(diary, headers=overriding(headers, **{"X-Tenant-Id": str(victim[1].id)}))
    assert_envelope(answer, 403, "override_refused")
    assert crossings() == []


def test_service_tokens_of_all_tenants_are_listed_and_revoked_on_record(http, operator, machine, victim):
    machine("analytics-batch", "conversations:read", tenant=victim[1])
    headers, user = operator("platform:operator")
    assert_envelope(http.simulate_get(TOKENS, headers=overriding(headers, reason=None)), 400)
    listed = http.simulate_get(TOKENS, params={"tenant_id": str(victim[1].id)}, headers=overriding(headers))
    [item] = listed.json["items"]
    revoked = http.simulate_post(f"{TOKENS}/{item['jti']}/revoke", json={}, headers=overriding(headers))
    assert (listed.status_code, revoked.status_code) == (200, 200)
    assert [(event.actor, event.details["operation"]) for event in crossings()] == [
        (f"user:{user.id}", "service_token.read"),
        (f"user:{user.id}", "service_token.revoke"),
    ]
    assert str(victim[1].id) in crossings()[0].details["request"]


def test_nothing_happens_in_another_tenant_if_the_audit_row_cannot_be_written(http, supporter, diary, monkeypatch):
    def fail(**columns):
        raise PeeweeException("the disk is full")

    monkeypatch.setattr(audit.AuditEvent, "create", fail)
    headers, _ = supporter
    for method in ("GET", "DELETE"):
        answer = http.simulate_request(method, diary, headers={**headers, "X-Operator-Reason": REASON})
        assert answer.status_code >= 500 and "secret" not in answer.text
    assert Conversation.select().count() == 1


def test_the_call_of_an_operator_without_the_action_leaves_no_audit_row(http, supporter):
    headers, _ = supporter
    unknown = {**headers, "X-Tenant-Id": "01a20ac7-784f-712d-8112-15c292557957", "X-Operator-Reason": REASON}
    assert_envelope(http.simulate_get("/api/v1/conversations", headers=unknown), 403, "tenant_mismatch")
    assert crossings() == []


def test_a_lowered_role_counts_elsewhere_too(http, operator, victim, diary):
    headers, _ = operator("support:*")
    there = overriding(headers, **{"X-Tenant-Id": str(victim[1].id), "X-Tenant-Role": "viewer"})
    assert_envelope(http.simulate_delete(diary, headers=there), 403, "insufficient_role")
    assert_envelope(http.simulate_get(diary, headers=there), 404)


# ---------------------------------------------------------------- machines do what their catalogue says, and no more


@pytest.fixture
def monitor(machine):
    return machine("synthetic-monitor", "conversations:write")


def ask_over_http(http, headers, conversation_id=None):
    body = {"message": "alive?", **({"conversation_id": conversation_id} if conversation_id else {})}
    return http.simulate_post("/api/v1/chat", json=body, headers=headers)


def test_a_machine_that_may_not_read_cannot_append_to_a_users_conversation(http, monitor, person, ask, configure):
    configure(chat_wait_seconds=0.01)
    user = person("member")
    Run.cancel(user, ask(user, "private", "mine").id)  # the conversation is free for the next question
    assert_envelope(ask_over_http(http, monitor, "mine"), 404, "conversation_not_found")
    assert Message.select().count() == 1
    assert ask_over_http(http, monitor).status_code == 504, "it may still begin one"
    assert_envelope(http.simulate_get("/api/v1/conversations", headers=monitor), 403, "insufficient_scope")


def test_a_machine_that_may_not_read_cannot_cancel_a_users_run(http, monitor, person, ask):
    run = ask(person("member"), "private", "mine")
    assert_envelope(http.simulate_post(f"/api/v1/runs/{run.id}/cancel", headers=monitor), 404, "run_not_found")
    assert Run.get_by_id(run.id).state == "queued"


def test_a_machine_that_may_read_and_write_goes_on_in_its_tenants_conversations(http, machine, person, ask, configure):
    configure(chat_wait_seconds=0.01)
    headers = machine("support-console", "support:*", tenant=None)
    user = person("member")
    Run.cancel(user, ask(user, "hello", "open").id)
    there = {**headers, "X-Tenant-Id": str(user.tenant_id), "X-Operator-Reason": REASON}
    assert ask_over_http(http, there, "open").status_code == 504
    assert [message.content for message in Message.select().order_by(Message.position)] == ["hello", "alive?"]


def test_a_machine_searches_no_conversations(machine, tenant, ask):
    ask(
        Principal(None, tenant.id, account="one", scopes=frozenset(["conversations:write"]), email_verified=True),
        "words",
    )
    assert search_own(None, tenant.id, "words", 5) == []


def test_a_machine_does_not_get_the_answer_to_another_machines_question(tenant, ask):
    def asker(account):
        scopes = frozenset(["conversations:write"])
        return Principal(None, tenant.id, account=account, scopes=scopes, email_verified=True)

    first, again = (ask(asker("one"), "how much?", idempotency_key="daily") for _ in range(2))
    other = ask(asker("two"), "how much?", idempotency_key="daily")
    assert first.id == again.id != other.id


def test_a_machine_has_no_role_to_raise_or_lower(http, machine):
    headers = machine("billing-worker", "billing:manage")
    answer = http.simulate_get("/api/v1/conversations", headers={**headers, "X-Tenant-Role": "admin"})
    assert_envelope(answer, 403, "insufficient_role")
    assert_envelope(http.simulate_get("/api/v1/conversations", headers=headers), 403, "insufficient_scope")


# ---------------------------------------------------------------- audit rows


def test_a_deleted_conversation_leaves_an_audit_row(http, signed, ask_as):
    (admin, me), (_, member) = signed("admin"), signed("member")
    ask_as(member, "hello", "one")
    conversation = Conversation.get()
    assert http.simulate_delete("/api/v1/conversations/one", headers=admin).status_code == 204
    [event] = AuditEvent.select().where(AuditEvent.action == "conversation.deleted")
    assert (event.actor, event.subject) == (f"user:{me.id}", f"conversation:{conversation.id}")
    assert event.details == {"key": "one", "owner": str(member.id)} and event.ip == "127.0.0.1"


def test_a_deletion_that_fails_leaves_no_audit_row(http, signed):
    admin, _ = signed("admin")
    assert http.simulate_delete("/api/v1/conversations/unknown", headers=admin).status_code == 404
    assert AuditEvent.select().where(AuditEvent.action == "conversation.deleted").count() == 0


def test_the_log_says_who_was_refused_what(http, signed, caplog):
    headers, user = signed("viewer")
    assert http.simulate_delete("/api/v1/conversations/one", headers=headers).status_code == 403
    logged = caplog.records[-1].msg
    assert (logged["subject"], logged["action"]) == (f"user:{user.id}", "conversation.delete")
    assert logged["status_code"] == 403
