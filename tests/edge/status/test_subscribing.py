"""Subscribing an address: anybody may ask, nobody learns who is subscribed already."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from models.platform.database import transaction
from models.status import subscribing, tokens
from models.status.subscriptions import ACTIVE, PENDING, REVOKED, StatusSubscription, target
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope

JO = "jo@example.com"


def rows():
    return list(StatusSubscription.select().order_by(StatusSubscription.id))


def token_for(row, severity="major", components=(), minutes=60):
    return tokens.create(tokens.CONFIRM, row.id, now() + timedelta(minutes=minutes), severity, components)


def confirm(row, *wishes):
    with transaction():
        return subscribing.confirm(token_for(row, *wishes))


def test_anybody_may_subscribe_an_address(subscribe, jobs_named):
    answer = subscribe("  Jo@Example.COM ", metadata={"team": "web"}, components=["api", "api"])
    assert answer.status_code == 201
    [row] = rows()
    assert answer.json == {
        "id": str(row.id),
        "channel": "email",
        "severity_filter": "major",
        "status": "pending_verification",
        "target_masked": "j***@example.com",
        "tenant_id": None,
        "created_by": "public",
        "created_at": answer.json["created_at"],
        "updated_at": answer.json["created_at"],
        "webhook_secret": None,
        "components": ["api"],
        "metadata": {"team": "web"},
        "verified_at": None,
        "failing_since": None,
        "checked_at": None,
        "last_error": None,
    }
    assert target(row) == JO and JO not in str(row.__data__)
    [job] = jobs_named("status.confirm")
    assert job.args == {"subscription_id": str(row.id), "severity_filter": "major", "components": ["api"]}


def test_a_signed_in_caller_subscribes_for_their_tenant(subscribe, signed, tenant):
    headers, user = signed("viewer")
    answer = subscribe(JO, headers)
    assert (answer.json["tenant_id"], answer.json["created_by"]) == (str(tenant.id), str(user.id))


@pytest.mark.parametrize("severity", [None, "all", "maintenance"])
def test_severity_filters(subscribe, severity):
    assert subscribe(JO, severity_filter=severity).json["severity_filter"] == (severity or "major")


SEEN = {"channel", "severity_filter", "status", "target_masked", "tenant_id", "created_by", "webhook_secret"}


@pytest.mark.parametrize("state", ["new", PENDING, ACTIVE, REVOKED])
def test_the_answer_does_not_tell_whether_an_address_is_subscribed(subscribe, no_limits, jobs_named, state):
    first = None
    if state != "new":
        first = subscribe(JO, severity_filter="all", metadata={"mine": 1})
        StatusSubscription.update(status=state).execute()
    began, jobs = now(), len(jobs_named("status.confirm"))
    answer = subscribe(JO)
    expected = {"channel": "email", "severity_filter": "major", "status": PENDING, "target_masked": "j***@example.com"}
    expected |= {"tenant_id": None, "created_by": "public", "webhook_secret": None}
    assert {name: answer.json[name] for name in SEEN} == expected
    assert (answer.status_code, answer.json["metadata"], answer.json["verified_at"]) == (201, {}, None)
    assert answer.json["created_at"] == answer.json["updated_at"] >= began.isoformat()[:19]
    assert len(jobs_named("status.confirm")) == jobs + 1
    assert first is None or answer.json["id"] > first.json["id"]


@pytest.mark.parametrize("state", [PENDING, ACTIVE])
def test_a_stranger_changes_nothing_of_a_subscription(subscribe, no_limits, state):
    subscribe(JO, severity_filter="all", metadata={"mine": 1})
    StatusSubscription.update(status=state).execute()
    [before] = rows()
    subscribe(JO, severity_filter="maintenance", components=["chat"], metadata={"theirs": 1})
    [after] = rows()
    for name in ("id", "severity_filter", "components", "metadata", "status", "creator", "created_at"):
        assert getattr(before, name) == getattr(after, name)


def test_of_a_crowd_that_asks_for_one_address_there_is_one_row(subscribe, no_limits, jobs_named):
    answers = crowd(50, lambda number: subscribe(JO if number % 2 else JO.upper()))
    assert {answer.status_code for answer in answers} == {201}
    assert len(rows()) == 1
    assert len({answer.json["id"] for answer in answers}) == 50
    assert len(jobs_named("status.confirm")) == 50


def test_a_row_is_found_after_the_secret_key_has_changed(subscribe, no_limits, configure):
    configure(secret_key="a" * 40)
    subscribe(JO)
    configure(secret_key="b" * 40, secret_key_previous="a" * 40)
    subscribe(JO)
    assert len(rows()) == 1


def test_each_tenant_and_the_public_have_a_row_of_their_own(subscribe, no_limits, signed):
    subscribe(JO)
    subscribe(JO, signed("viewer")[0])
    subscribe(JO, signed("member")[0])
    assert len(rows()) == 2


def test_a_manager_is_told_that_a_subscription_exists(subscribe, no_limits, signed):
    headers = signed("admin")[0]
    first, second = subscribe(JO, headers), subscribe(JO, headers, severity_filter="all")
    assert (second.status_code, second.json["id"]) == (201, first.json["id"])
    confirm(rows()[0], "all")
    answer = subscribe(JO, headers)
    assert_envelope(answer, 409, "subscription_exists")
    assert answer.json["details"] == {"id": first.json["id"]}


NO_ADDRESSES = [
    *(
        "",
        "  ",
        "foo",
        "@",
        "a@",
        "@b.example",
        "a@b",
        "a b@example.com",
        "a@example.com,b@example.com",
        "a@@b.example",
    ),
    "a@example.com\nBcc: b@example.com",
    "a@" + "b" * 300 + ".com",
    "a@[127.0.0.1]",
]


def test_what_is_no_address_is_refused(subscribe):
    for bad in NO_ADDRESSES:
        assert_envelope(subscribe(bad), 400, "invalid_target")
    assert rows() == []


BAD_INPUT = [
    {"severity_filter": "minor"},
    {"metadata": []},
    {"metadata": {"a": "x" * 5000}},
    {"metadata": {"a": "\0"}},
    {"components": ["x" * 65]},
    {"components": ["A B"]},
    {"components": [f"s{number}" for number in range(101)]},
    {"channel": "slack"},
]


def test_other_bad_input_is_a_422(call):
    for more in BAD_INPUT:
        assert_envelope(call("post", **{"channel": "email", "target": JO, **more}), 422, "validation_error")


def test_components_are_services(call):
    answer = call("post", channel="email", target=JO, components=["api", "nothing"])
    assert_envelope(answer, 400, "unknown_service")
    assert "chat" in answer.json["details"]["services"] and rows() == []


def test_a_bad_token_is_refused_before_the_body_is_looked_at(call):
    for header in ("Bearer nonsense", "Bearer ", "Basic YTpi"):
        assert_envelope(call("post", "", {"Authorization": header}, channel="nonsense"), 401, "not_authenticated")


def test_a_network_has_a_limit_and_is_told(subscribe, configure):
    configure(status_subscription_email_rate_limit_per_hour=3)
    answers = [subscribe(f"jo{number}@example.com") for number in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert_envelope(answers[3], 429, "rate_limit_exceeded")
    assert 0 < int(answers[3].headers["Retry-After"]) <= 3600
    assert len(rows()) == 3


def test_an_address_has_a_limit_and_nobody_is_told(call, configure, jobs_named):
    configure(status_subscription_email_rate_limit_per_hour=4)
    answers = [call("post", ip=f"192.0.2.{number}", channel="email", target=JO) for number in range(10)]
    assert {answer.status_code for answer in answers} == {201}
    assert len(jobs_named("status.confirm")) == 4


def test_no_network_uses_up_the_mails_of_an_address(call, configure, jobs_named):
    configure(status_subscription_email_rate_limit_per_hour=4)
    for ip in ("192.0.2.1",) * 4 + ("192.0.2.2",):
        assert call("post", ip=ip, channel="email", target=JO).status_code == 201
    assert len(jobs_named("status.confirm")) == 3


# ---------------------------------------------------------------- confirming


def test_a_token_confirms_what_was_asked_for_and_can_be_used_again(call, subscribe):
    subscribe(JO)
    [row] = rows()
    token = token_for(row, "all", ["chat"])
    first, second = call("post", "/verify", token=token), call("post", "/verify", token=token)
    assert (first.status_code, first.json) == (200, second.json)
    assert first.json["status"] == "active" and first.json["verified_at"]
    assert (first.json["severity_filter"], first.json["components"]) == ("all", ["chat"])


def test_a_crowd_of_clicks_confirms_once(call, subscribe):
    from models.status.metrics import SUBSCRIPTIONS

    subscribe(JO)
    token, counter = token_for(rows()[0]), SUBSCRIPTIONS.labels("email", "confirmed")
    before = counter._value.get()
    assert {answer.status_code for answer in crowd(20, lambda _: call("post", "/verify", token=token))} == {200}
    assert counter._value.get() == before + 1


@pytest.mark.parametrize("token", ["", "x", "a.b", "0" * 43, "ä" * 50, "e30." + "A" * 43])
def test_an_unknown_token_is_a_404(call, token):
    assert_envelope(call("post", "/verify", token=token), 404, "token_invalid")
    assert_envelope(call("post", "/challenge", token=token), 404, "challenge_invalid")


def test_an_expired_token_is_a_410_unless_the_subscription_is_active(call, subscribe):
    subscribe(JO)
    [row] = rows()
    expired = token_for(row, "all", minutes=-1)
    assert_envelope(call("post", "/verify", token=expired), 410, "token_expired")
    assert rows()[0].status == PENDING
    confirm(row)
    answer = call("post", "/verify", token=expired)
    assert (answer.status_code, answer.json["severity_filter"]) == (200, "major")


def test_a_revoked_subscription_is_a_410(call, subscribe):
    subscribe(JO)
    [row] = rows()
    token = token_for(row)
    assert call("delete", f"/{row.id}", query=f"token={tokens.unsubscribing(row.id)}").status_code == 204
    assert_envelope(call("post", "/verify", token=token), 410, "subscription_revoked")


def test_a_mails_token_answers_no_challenge(call, subscribe):
    subscribe(JO)
    assert_envelope(call("post", "/challenge", token=token_for(rows()[0])), 404, "challenge_invalid")
