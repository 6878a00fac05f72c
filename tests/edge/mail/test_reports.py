"""POST /webhooks/resend: a signed report of a bounce or a complaint stops mail to that address, and nothing else does."""

import json
import time

import pytest

from models.mail import suppressions
from models.mail.suppressions import MailSuppression
from models.platform.database import transaction
from models.platform.principal import Root
from models.platform.redis import fast_redis_client
from tests.support.crowd import crowd
from workers.gateways.webhooks import Message, signed

SECRET, OTHER = "whsec_bG9uZ3Nob3JlLXNlY3JldA==", "whsec_b3RoZXItc2VjcmV0LW9mLW91cnM="
BOUNCE = {"type": "Permanent", "subType": "General", "message": "no such user"}


@pytest.fixture(autouse=True)
def secret(clean, configure):
    configure(resend_webhook_secret=SECRET)


def event(kind="email.bounced", to=("jo@example.com",), **data):
    return {"type": kind, "created_at": "2026-01-01T00:00:00Z", "data": {"email_id": "e1", "to": list(to), **data}}


@pytest.fixture
def report(http):
    """report(event or bytes, ...) -> the answer."""

    def send(body, message_id="msg_1", secret=SECRET, age=0, prefix="svix-", drop=(), change=None):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = signed(Message(message_id, raw), [secret], int(time.time()) - age)
        headers = {name.replace("webhook-", prefix): value for name, value in headers.items()}
        headers = {name: value for name, value in headers.items() if name.removeprefix(prefix) not in drop}
        return http.simulate_post("/webhooks/resend", body=change or raw, headers=headers | {"Host": "localhost"})

    return send


def test_a_bounce_stops_mail_to_the_address(report):
    answer = report(event(bounce=BOUNCE))
    assert (answer.status_code, answer.json) == (200, {"success": True, "suppressed": True})
    [row] = MailSuppression.select()
    assert (row.address_masked, row.reason, row.details) == (
        "j***@example.com",
        "bounce",
        {"email_id": "e1", "kind": "General"},
    )
    assert suppressions.is_suppressed("JO@example.com", security=True)


def test_a_complaint_leaves_mails_about_security(report):
    assert report(event("email.complained")).json["suppressed"]
    assert suppressions.is_suppressed("jo@example.com")
    assert not suppressions.is_suppressed("jo@example.com", security=True)


def test_a_bounce_after_a_complaint_weighs_more(report):
    report(event("email.complained"), "msg_1")
    assert report(event(bounce=BOUNCE), "msg_2").json["suppressed"]
    assert not report(event("email.complained"), "msg_3").json["suppressed"]
    assert [row.reason for row in MailSuppression.select()] == ["bounce"]


@pytest.mark.parametrize(
    "body",
    [
        event("email.delivered"),
        event(bounce={"type": "Transient"}),
        event(bounce={"type": "Undetermined"}),
        event(to=()),
        event(to=("jo@example.com", "eve@example.com")),
        event(to=(1,)),
        event(to=("Jo <jo@example.com>",)),
        event(to=("jo@example.com\nx",)),
        {"type": "email.bounced", "data": {"to": "jo@example.com"}},
        {"type": "email.bounced", "data": None},
        {"type": ["email.bounced"]},
        [],
        1,
        None,
    ],
)
def test_what_says_nothing_of_an_address_is_taken_and_changes_nothing(report, body):
    answer = report(body)
    assert (answer.status_code, answer.json) == (200, {"success": True, "suppressed": False})
    assert MailSuppression.select().count() == 0


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ({"secret": OTHER}, "signature_invalid"),
        ({"age": 400}, "signature_invalid"),
        ({"age": -400}, "signature_invalid"),
        ({"change": json.dumps(event(to=["eve@example.com"])).encode()}, "signature_invalid"),
        ({"drop": ["signature"]}, "signature_missing"),
        ({"drop": ["id"]}, "signature_missing"),
        ({"drop": ["timestamp"]}, "signature_missing"),
        ({"message_id": "x" * 200}, "signature_invalid"),
    ],
)
def test_what_is_not_signed_by_them_is_refused(report, how, code):
    answer = report(event(bounce=BOUNCE), **how)
    assert (answer.status_code, answer.json["error"]) == (400, code)
    assert MailSuppression.select().count() == 0


@pytest.mark.parametrize("headers", ["v1,", "v2,abc", "", "v1," + "é", " ".join(["v1,x"] * 50)])
def test_a_malformed_signature_is_refused(http, headers):
    values = {
        "svix-id": "m",
        "svix-timestamp": str(int(time.time())),
        "svix-signature": headers.encode().decode("latin-1"),
    }
    answer = http.simulate_post("/webhooks/resend", body=b"{}", headers=values)
    assert answer.status_code == 400 and answer.json["error"].startswith("signature_")


def test_the_names_of_standard_webhooks_will_do_and_so_will_one_of_two_secrets(report, configure):
    configure(resend_webhook_secret=f"{OTHER},{SECRET}")
    assert report(event(bounce=BOUNCE), prefix="webhook-").json["suppressed"]


def test_a_report_that_comes_again_does_not_undo_what_an_operator_did(report):
    report(event(bounce=BOUNCE))
    with transaction():
        suppressions.remove(Root("operator:test"), "jo@example.com")
    assert report(event(bounce=BOUNCE)).json == {"success": True, "suppressed": False}
    assert not suppressions.is_suppressed("jo@example.com")
    assert fast_redis_client().ttl("mail:report:msg_1") > 2 * 86_400  # so long they come again


def test_a_crowd_of_the_same_report_is_one_suppression(report):
    answers = crowd(12, lambda number: report(event(bounce=BOUNCE), f"msg_{number}"))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json["suppressed"] for answer in answers) == 1 == MailSuppression.select().count()


def test_a_body_that_is_no_json_or_too_large_is_refused(report):
    assert report(b"{").json["error"] == "payload_invalid"
    assert report(b"[" * 5000).json["error"] == "payload_invalid"
    assert report(b" " * 10_000_000).status_code == 413


@pytest.mark.parametrize("secret", [None, "", "whsec_é", "whsec_a", "whsec_", "whsec_AA=="])
def test_without_a_secret_nothing_is_taken(report, configure, secret):
    configure(resend_webhook_secret=secret)
    answer = report(event(bounce=BOUNCE))
    assert (answer.status_code, answer.json["error"]) == (503, "webhook_secret_missing")
