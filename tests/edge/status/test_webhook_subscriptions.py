"""Subscribing a webhook, and what managers and operators do about subscriptions."""

from datetime import timedelta

import pytest

from models.auth.tenants import Tenant
from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from models.status import ending, subscribing, tokens
from models.status.deliveries import Fanout, StatusDelivery
from models.status.signing import signing_secrets
from models.status.subscribing import MOST_WEBHOOKS
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription, target
from tests.support.crowd import crowd
from tests.support.hostile_targets import HOSTILE
from tests.support.routes import UNKNOWN_ID, assert_envelope
from tests.support.status import incident

HOOK = "https://hook.example.com/status"


def rows():
    return list(StatusSubscription.select().order_by(StatusSubscription.id))


def challenge_for(row):
    with transaction():
        return subscribing.new_challenge(row)


@pytest.fixture
def manager(signed):
    return signed("admin")[0]


@pytest.fixture
def hook(subscribe, manager, call):
    """An active webhook of the tenant."""
    subscribe(HOOK, manager)
    [row] = rows()
    assert call("post", "/challenge", token=challenge_for(row)).json["status"] == "active"
    return StatusSubscription.get_by_id(row.id)


def test_a_manager_subscribes_a_webhook_and_sees_its_secret_once(subscribe, signed, call, tenant, jobs_named):
    headers, user = signed("admin")
    answer = subscribe(f"{HOOK}?key=1#part", headers)
    [row] = rows()
    assert answer.status_code == 201 and answer.json["status"] == "pending_verification"
    secret = answer.json["webhook_secret"]
    assert len(secret) == 64 and set(secret) <= set("0123456789abcdef") and signing_secrets(row) == [secret]
    assert (answer.json["id"], answer.json["tenant_id"]) == (str(row.id), str(tenant.id))
    assert (answer.json["target_masked"], answer.json["created_by"]) == ("https://hook.example.com/…", str(user.id))
    assert (target(row), row.host) == (f"{HOOK}?key=1", "hook.example.com")
    assert [job.args for job in jobs_named("status.challenge")] == [{"subscription_id": str(row.id)}]
    shown = call("get", f"/{row.id}", headers)
    assert shown.json == {**answer.json, "webhook_secret": None}
    assert secret not in call("get", "", headers).text
    event = AuditEvent.get(AuditEvent.action == "status_subscription.created")
    assert event.actor == f"user:{user.id}" and "key=1" not in str(event.details)


@pytest.mark.parametrize("role", [None, "viewer", "member"])
def test_others_may_not_subscribe_a_webhook(subscribe, signed, role):
    answer = subscribe(HOOK, signed(role)[0] if role else None)
    assert_envelope(answer, 403 if role else 401)
    assert rows() == []


def test_hostile_targets_are_refused(subscribe, manager):
    assert len(HOSTILE) >= 40
    for url in HOSTILE:
        assert_envelope(subscribe(url, manager, channel="webhook"), 400, "invalid_target")
    assert rows() == []


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://example.com:8080/", "https://example.com/" + "x" * 2048]
)
def test_other_targets_that_are_refused(subscribe, manager, url):
    assert_envelope(subscribe(url, manager), 400, "invalid_target")


def test_one_url_has_one_row_in_a_tenant(subscribe, manager, hook):
    for again in [HOOK, HOOK.upper().replace("/STATUS", "/status"), f"{HOOK}#x", "https://hook.example.com:443/status"]:
        answer = subscribe(again, manager)
        assert_envelope(answer, 409, "subscription_exists")
        assert answer.json["details"] == {"id": str(hook.id)}


@pytest.mark.parametrize("state", [PENDING, DISABLED])
def test_one_that_is_not_active_starts_again_with_a_new_secret(subscribe, manager, hook, state):
    StatusSubscription.update(status=state, failures=20, error="It cannot be reached.").execute()
    answer = subscribe(HOOK, manager, severity_filter="all")
    [row] = rows()
    assert (answer.status_code, answer.json["id"], answer.json["status"]) == (201, str(hook.id), "pending_verification")
    assert (row.status, row.failures, row.error, row.severity_filter) == (PENDING, 0, None, "all")
    assert signing_secrets(row) == [answer.json["webhook_secret"]] != signing_secrets(hook)


def test_a_crowd_makes_one_row(subscribe, manager, no_limits):
    answers = crowd(20, lambda _: subscribe(HOOK, manager))
    assert {answer.status_code for answer in answers} == {201}
    [row] = rows()
    assert signing_secrets(row)[0] in {answer.json["webhook_secret"] for answer in answers}


def test_a_tenant_has_so_many_webhooks_at_most(subscribe, manager, tenant, no_limits):
    known = {"channel": "webhook", "target_masked": "a", "creator": "a", "status": ACTIVE, "tenant_id": tenant.id}
    for number in range(MOST_WEBHOOKS - 2):
        StatusSubscription.create(target_hash=str(number), **known)
    answers = crowd(6, lambda number: subscribe(f"https://hook{number}.example.com/", manager))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409, 409]
    assert len(rows()) == MOST_WEBHOOKS


def test_networks_and_targets_have_limits(call, manager, configure):
    configure(status_subscription_ip_rate_limit_per_hour=2)

    def ask(url, ip):
        return call("post", "", manager, ip=ip, channel="webhook", target=url).status_code

    urls = [f"https://hook{number}.example.com/" for number in range(3)]
    assert [ask(url, "192.0.2.1") for url in urls] == [201, 201, 429]
    assert [ask(HOOK, f"192.0.2.{number}") for number in (2, 3, 4)] == [201, 201, 429]


def test_a_challenge_can_be_answered_again_but_not_late(call, hook, monkeypatch):
    token = challenge_for(hook)
    assert [call("post", "/challenge", token=token).status_code for _ in range(2)] == [200, 200]
    StatusSubscription.update(status=PENDING).execute()
    late = tokens.create(tokens.CHALLENGE, hook.id, now() - timedelta(seconds=1), "major", [])
    assert_envelope(call("post", "/challenge", token=late), 410, "token_expired")
    assert_envelope(call("post", "/verify", token=token), 404, "token_invalid")


# ---------------------------------------------------------------- lists


def some(tenant_id, count=1, **columns):
    known = {"channel": "email", "target_masked": "a***@example.com", "creator": "public", "status": ACTIVE}
    return [
        StatusSubscription.create(**{**known, "target_hash": f"{tenant_id}{number}", "tenant_id": tenant_id, **columns})
        for number in range(count)
    ]


def listed(answer):
    return [item["id"] for item in answer.json["items"]]


def test_lists_continue_where_they_were_and_show_the_newest_first(call, manager, tenant):
    made = [str(row.id) for row in some(tenant.id, 5)]
    first = call("get", "", manager, "limit=2")
    some(tenant.id, target_hash="later")
    second = call("get", "", manager, f"limit=2&cursor={first.json['next_cursor']}")
    third = call("get", "", manager, f"limit=2&cursor={second.json['next_cursor']}")
    assert listed(first) + listed(second) + listed(third) == made[::-1]
    assert third.json["next_cursor"] is None
    assert [len(listed(call("get", "", manager, f"limit={limit}"))) for limit in (0, -5, 1000)] == [1, 1, 6]
    assert_envelope(call("get", "", manager, "cursor=x"), 400, "invalid_cursor")


def test_filters(call, manager, tenant):
    [mail], [hook] = some(tenant.id), some(tenant.id, channel="webhook", status=DISABLED)
    assert listed(call("get", "", manager, "channel=email")) == [str(mail.id)]
    assert listed(call("get", "", manager, "status=disabled")) == [str(hook.id)]
    assert_envelope(call("get", "", manager, "status=x"), 422)


@pytest.fixture
def everywhere(tenant):
    """ids of a subscription of the tenant, of another one, and of the public."""
    other = Tenant.create(slug="other", name="Other")
    return tenant, other, {name: str(some(owner)[0].id) for name, owner in
                           (("own", tenant.id), ("theirs", other.id), ("public", None))}  # fmt: skip


def test_managers_see_their_tenants_only(call, manager, everywhere):
    tenant, other, ids = everywhere
    assert (
        listed(call("get", "", manager)) == listed(call("get", "", manager, f"tenant_id={tenant.id}")) == [ids["own"]]
    )
    assert_envelope(call("get", "", manager, f"tenant_id={other.id}"), 403, "tenant_mismatch")
    for query in ("all=true", "all=1", f"all=true&tenant_id={tenant.id}", "all=TRUE&public=true"):
        assert_envelope(call("get", "", manager, query), 403, "insufficient_scope")
    for query in ("all=t", "all=y", "public=true"):
        assert set(listed(call("get", "", manager, query))) <= {ids["own"]}
    for name in ("theirs", "public"):
        for method in ("get", "delete"):
            assert_envelope(call(method, f"/{ids[name]}", manager), 404, "subscription_not_found")
            assert_envelope(call(method, f"/{ids[name]}", manager, "all=true"), 403, "insufficient_scope")


def test_operators_see_all_if_they_ask_for_it(call, signed, everywhere):
    _, other, ids = everywhere
    operator = signed("viewer", operator=True)[0]
    assert_envelope(call("get", "", operator), 403)
    assert set(listed(call("get", "", operator, "all=true"))) == set(ids.values())
    assert listed(call("get", "", operator, f"all=true&tenant_id={other.id}")) == [ids["theirs"]]
    assert listed(call("get", "", operator, "all=true&public=true")) == [ids["public"]]
    assert call("get", f"/{ids['public']}", operator, "all=true").status_code == 200
    assert call("delete", f"/{ids['public']}", operator, "all=true").status_code == 204
    assert StatusSubscription.get_by_id(ids["public"]).status == REVOKED
    event = AuditEvent.get(AuditEvent.action == "status_subscription.revoked")
    assert event.subject == f"status_subscription:{ids['public']}"


# ---------------------------------------------------------------- the end


def test_a_mails_token_ends_it_and_erases_the_target(call, hook, manager):
    query = f"token={tokens.unsubscribing(hook.id)}"
    assert [call("delete", f"/{hook.id}", query=query).status_code for _ in range(2)] == [204, 204]
    [row] = rows()
    assert (row.status, row.revoked_reason) == (REVOKED, "user_unsubscribe")
    assert (row.target_hash, row.target_encrypted) == ("", None)
    assert (row.secret, row.secret_before, row.metadata) == (None, None, {})
    first = row.revoked_at
    assert call("delete", f"/{hook.id}", manager).status_code == 204
    assert rows()[0].revoked_at == first


@pytest.mark.parametrize("token", ["x", "0" * 64, "ä", tokens.LONGEST * "x"])
def test_a_wrong_token_ends_nothing_and_tells_nothing(call, hook, token):
    for row_id in (hook.id, UNKNOWN_ID):
        answer = call("delete", f"/{row_id}", query=f"token={token}")
        assert_envelope(answer, 404, "token_invalid")
        near = tokens.unsubscribing(hook.id)[1:] + "g"
        assert_envelope(call("delete", f"/{row_id}", query=f"token={near}"), 404, "token_invalid")
    assert rows()[0].status == ACTIVE


def test_a_bad_bearer_is_refused_even_with_a_good_token(call, hook):
    query = f"token={tokens.unsubscribing(hook.id)}"
    assert_envelope(call("delete", f"/{hook.id}", {"Authorization": "Bearer x"}, query), 401)
    assert_envelope(call("delete", f"/{hook.id}", query="token=%20"), 401)
    assert rows()[0].status == ACTIVE


def test_a_new_subscription_follows_a_revoked_one(subscribe, manager, hook, call):
    call("delete", f"/{hook.id}", manager)
    answer = subscribe(HOOK, manager)
    assert answer.status_code == 201 and answer.json["id"] != str(hook.id)
    assert len(rows()) == 2


# ---------------------------------------------------------------- what managers do


def test_a_manager_changes_what_it_is_told_of(call, manager, hook):
    answer = call("patch", f"/{hook.id}", manager, severity_filter="all", components=["api"])
    assert (answer.status_code, answer.json["severity_filter"], answer.json["components"]) == (200, "all", ["api"])
    assert call("patch", f"/{hook.id}", manager, components=[]).json["severity_filter"] == "all"
    actions = [event.action for event in AuditEvent.select().order_by(AuditEvent.id)]
    assert actions.count("status_subscription.changed") == 2
    call("delete", f"/{hook.id}", manager)
    assert_envelope(call("patch", f"/{hook.id}", manager, severity_filter="all"), 410, "subscription_revoked")


def test_the_former_secret_signs_for_a_day(call, manager, hook):
    [old] = signing_secrets(hook)
    answer = call("post", f"/{hook.id}/secret", manager)
    [row] = rows()
    assert answer.status_code == 201 and answer.json["former_signs_until"]
    assert signing_secrets(row) == [answer.json["webhook_secret"], old]
    StatusSubscription.update(secret_changed_at=now() - timedelta(days=1)).execute()
    assert signing_secrets(rows()[0]) == [answer.json["webhook_secret"]]


def test_only_webhooks_have_secrets_and_tests(call, manager, tenant):
    [row] = some(tenant.id)
    assert_envelope(call("post", f"/{row.id}/secret", manager), 409, "not_a_webhook")
    assert_envelope(call("post", f"/{row.id}/test", manager), 409, "subscription_not_active")


def test_tests_are_limited(call, manager, hook, jobs_named):
    answers = [call("post", f"/{hook.id}/test", manager) for _ in range(21)]
    assert [answer.status_code for answer in answers] == [202] * 20 + [429]
    assert len(jobs_named("status.test")) == 20


@pytest.mark.parametrize("channel", ["email", "webhook"])
def test_what_confirms_it_can_be_sent_again(call, manager, tenant, channel, configure):
    configure(status_subscription_email_rate_limit_per_hour=2, status_subscription_ip_rate_limit_per_hour=2)
    [row] = some(tenant.id, channel=channel, status=PENDING, severity_filter="all")
    answers = [call("post", f"/{row.id}/resend", manager) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    names = {job.name for job in Job.select()}
    assert names == {"status.confirm" if channel == "email" else "status.challenge"}
    StatusSubscription.update(status=ACTIVE).execute()
    assert_envelope(call("post", f"/{row.id}/resend", manager), 409, "already_confirmed")
    StatusSubscription.update(status=REVOKED).execute()
    assert_envelope(call("post", f"/{row.id}/resend", manager), 410, "subscription_revoked")


def test_a_disabled_webhook_is_enabled_by_a_challenge(call, manager, hook, jobs_named):
    with transaction():
        for _ in range(ending.MOST_FAILURES):
            ending.given_up({hook.id: "It cannot be reached."})
    shown = call("get", f"/{hook.id}", manager).json
    assert (shown["status"], shown["last_error"]) == ("disabled", "It cannot be reached.")
    assert call("post", f"/{hook.id}/resend", manager).status_code == 202
    answer = call("post", "/challenge", token=challenge_for(rows()[0]))
    assert (answer.json["status"], answer.json["last_error"], answer.json["failing_since"]) == ("active", None, None)


def test_deliveries_are_listed(call, manager, hook):
    row, update = incident()
    fanout = Fanout.create(update_id=update.id, severity="major", creator="test")
    known = {"fanout_id": fanout.id, "update_id": update.id, "channel": "webhook", "host": hook.host}
    mine = StatusDelivery.create(subscription_id=hook.id, attempts=2, status_code=503, error="No.", **known)
    [other] = some(hook.tenant_id)
    StatusDelivery.create(subscription_id=other.id, **known)
    [item] = call("get", f"/{hook.id}/deliveries", manager).json["items"]
    assert (item["id"], item["incident_id"], item["update_id"]) == (str(mine.id), row.slug, str(update.id))
    assert (item["state"], item["attempts"], item["status_code"], item["error"]) == ("pending", 2, 503, "No.")
