"""Who is told of a notice: mails, the tenant's webhook, retries, and giving up."""

import base64
import hashlib
import hmac
import json

import pytest

from models.jobs.ledger import Job
from models.mail import suppressions
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from tests.support.accounts import add_user
from tests.support.crowd import crowd
from tests.support.mails import plain
from tests.support.receiver import Receiver


@pytest.fixture
def receiver(configure):
    found = Receiver()
    configure(webhook_trusted_hosts=found.host)
    yield found
    found.stop()


@pytest.fixture
def settings_of(tenant):
    """settings_of(contacts=[...], url=...): save them."""
    from models.tenants.settings import TenantSettings

    def save(contacts=(), url=None):
        TenantSettings.delete().execute()
        contacts = [{"name": "C", "role": None, "phone": None, "notify_billing": True} | one for one in contacts]
        return TenantSettings.create(
            tenant_id=tenant.id, billing_contacts=contacts, billing_webhook_url=url, version=1, updated_at=now()
        )

    return save


def notice(tenant, kind="payment_failed", key="in_1", **details):
    from models.billing import notices
    from models.platform.database import transaction

    known = {"amount_due_cents": 9900, "currency": "usd", "number": "A-1", "next_attempt_at": None}
    known |= {"hosted_invoice_url": "https://invoice.stripe.com/i/1"}
    with transaction():
        assert notices.tell(tenant.id, kind, key, **(known | details))


def work(job):
    """Run a job as a worker does when it is due; returns the job afterwards."""
    from workers.billing import notices  # noqa: F401  (registers the actors)
    from workers.broker import broker
    from workers.mail import billing  # noqa: F401

    Job.update(due_at=now()).where(Job.id == job.id).execute()
    broker.get_actor(job.name).fn(str(job.id))
    return Job.get_by_id(job.id)


def tell():
    from models.platform.database import transaction
    from workers.jobs import BILLING_TELL, enqueue

    with transaction():
        job = enqueue(BILLING_TELL)
    assert work(job).state == "succeeded"


def deliveries():
    from models.billing.notices import Delivery

    return list(Delivery.select().order_by(Delivery.channel, Delivery.address))


def told_addresses():
    return [one.address for one in deliveries() if one.channel == "mail"]


def test_the_contacts_who_want_it_are_told(tenant, settings_of):
    contacts = [
        {"email": "a@example.com"},
        {"email": "A@example.com"},
        {"email": "b@example.com", "notify_billing": False},
        {"email": "c@example.com"},
    ]
    settings_of(contacts)
    notice(tenant)
    tell(), tell()
    assert told_addresses() == ["A@example.com", "c@example.com"]


def test_else_the_address_of_the_subscription_and_else_the_owners(tenant):
    from models.billing.subscription import Subscription

    add_user("owner@example.com", tenant=tenant, role="owner", verified=True)
    add_user("unverified@example.com", tenant=tenant, role="owner")
    add_user("admin@example.com", tenant=tenant, role="admin", verified=True)
    notice(tenant, key="1")
    tell()
    Subscription.create(tenant_id=tenant.id, plan_code="starter", status="active", billing_email="billing@example.com")
    notice(tenant, key="2")
    tell()
    assert told_addresses() == ["billing@example.com", "owner@example.com"]


def test_a_mail_says_what_has_happened_and_is_sent_once(tenant, settings_of, mailbox, jobs_named):
    settings_of([{"email": "a@example.com"}])
    notice(tenant)
    tell()
    [job] = jobs_named("mail.billing")
    assert work(job).state == "succeeded"
    Job.update(state="queued").where(Job.id == job.id).execute()  # its worker died before it had recorded the end
    work(job)
    [(recipients, message)] = mailbox.mails
    assert recipients == ["a@example.com"]
    text = plain(message)
    assert "99.00 USD for Acme has failed (invoice A-1)" in text and "https://invoice.stripe.com/i/1" in text
    assert message["Subject"].endswith("A payment has failed")
    [delivery] = deliveries()
    assert (delivery.state, delivery.attempts) == ("delivered", 1)


def test_an_address_that_gets_no_mail_was_not_told(tenant, settings_of, mailbox, jobs_named):
    settings_of([{"email": "a@example.com"}])
    with transaction():
        suppressions.add("a@example.com", suppressions.BOUNCE)
    notice(tenant)
    tell()
    [job] = jobs_named("mail.billing")
    assert work(job).state == "succeeded" and not mailbox.mails
    [delivery] = deliveries()
    assert (delivery.state, delivery.error) == ("given_up", "Mail to this address is suppressed.")


@pytest.mark.parametrize(
    ("kind", "details", "expected"),
    [
        ("payment_failed", {"next_attempt_at": "2026-01-02T03:04:00.000000Z"}, "tried again on 2026-01-02 03:04 UTC"),
        ("payment_failed", {"number": None, "hosted_invoice_url": None}, "99.00 USD for Acme has failed."),
        ("payment_action_required", {}, "confirm a payment of 99.00 USD"),
        ("trial_will_end", {"trial_ends_at": "2026-01-02T00:00:00Z"}, "ends on 2026-01-02 00:00 UTC"),
        ("subscription_canceled", {"ended_at": "2026-01-02T00:00:00Z"}, "has ended on 2026-01-02"),
        (
            "limit_80",
            {"feature_key": "messages", "used": 160, "limit": 200, "window_end": "2026-01-02T00:00:00Z"},
            "160 of 200",
        ),
        (
            "limit_100",
            {"feature_key": "messages", "used": 200, "limit": 200, "window_end": "2026-01-02T00:00:00Z"},
            "all of the 200",
        ),
        ("operation_failed", {"operation": "change", "message": "Your card was declined."}, "Your card was declined."),
    ],
)
def test_every_kind_has_a_mail(tenant, settings_of, mailbox, jobs_named, kind, details, expected):
    settings_of([{"email": "a@example.com"}])
    notice(tenant, kind, **details)
    tell()
    assert work(*jobs_named("mail.billing")).state == "succeeded"
    assert expected in plain(mailbox.mails[0][1])


def test_the_kinds_that_have_a_mail_are_all(tenant):
    from models.billing.notices import KINDS
    from workers.mail.kinds import BILLING
    from workers.mail.kinds import KINDS as MAILS

    mails = {name.removeprefix("billing_") for name, kind in MAILS.items() if kind.category == BILLING}
    assert mails - {"test"} == set(KINDS)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (9900, "usd", "99.00 USD"),
        (5, "eur", "0.05 EUR"),
        (1234, "jpy", "1,234 JPY"),
        (1_234_567, "usd", "12,345.67 USD"),
        (1500, "kwd", "1.500 KWD"),
        (-250, "usd", "-2.50 USD"),
        (0, "usd", "0.00 USD"),
    ],
)
def test_amounts_as_people_read_them(amount, currency, text):
    from workers.mail.billing import money

    assert money(amount, currency) == text


def test_the_webhook_gets_a_signed_message(tenant, settings_of, receiver, jobs_named):
    from models.platform.database import transaction
    from models.tenants import webhook_secrets

    settings_of(url=f"http://{receiver.host}/hook")
    notice(tenant)
    tell()
    [job] = jobs_named("billing.webhook")
    assert work(job).state == "succeeded"
    [(path, headers, body)] = receiver.got
    assert path == "/hook"
    sent = json.loads(body)
    assert sent["type"] == "billing.payment_failed"
    assert sent["data"]["tenant_id"] == str(tenant.id) and sent["data"]["amount_due_cents"] == 9900
    with transaction():
        [secret] = webhook_secrets.signing(tenant.id)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(base64.b64decode(secret[6:]), content, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    delivery = next(one for one in deliveries() if one.channel == "webhook")
    assert (delivery.state, delivery.status_code) == ("delivered", 204)


def test_a_webhook_that_fails_is_tried_again_with_the_same_id(tenant, settings_of, receiver, jobs_named):
    settings_of(url=f"http://{receiver.host}/")
    receiver.answers = [500, 302]
    notice(tenant)
    tell()
    [job] = jobs_named("billing.webhook")
    assert [work(job).state for _ in range(3)] == ["queued", "queued", "succeeded"]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    delivery = next(one for one in deliveries() if one.channel == "webhook")
    assert (delivery.state, delivery.attempts, delivery.error) == ("delivered", 3, None)


def test_after_a_day_it_is_given_up_and_on_record(tenant, settings_of, receiver, jobs_named):
    settings_of(url=f"http://{receiver.host}/secret")
    receiver.answers = [500] * 20
    notice(tenant)
    tell()
    [job] = jobs_named("billing.webhook")
    states = [work(job).state for _ in range(10)]
    assert states == ["queued"] * 9 + ["dead"]
    [last] = jobs_named("billing.give_up")
    assert work(last).state == "succeeded"
    delivery = next(one for one in deliveries() if one.channel == "webhook")
    assert (delivery.state, delivery.status_code) == ("given_up", 500)
    event = AuditEvent.get(AuditEvent.action == "billing_notice.given_up")
    assert event.tenant_id == tenant.id and "secret" not in json.dumps(event.details)


def test_the_attempts_take_about_a_day():
    from workers.jobs import BILLING_WEBHOOK

    assert BILLING_WEBHOOK.retries == len(BILLING_WEBHOOK.delays)
    waits = [BILLING_WEBHOOK.backoff(number) for number in range(1, 10)]
    assert 17 * 3600 < sum(waits) < 27 * 3600
    assert waits != [BILLING_WEBHOOK.backoff(number) for number in range(1, 10)], (
        "receivers that were away get no crowd"
    )
    assert 0.8 * 28_800 <= BILLING_WEBHOOK.backoff(99) <= 1.2 * 28_800


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://10.0.0.1/"])
def test_a_webhook_that_is_not_public_gets_nothing(tenant, settings_of, jobs_named, url):
    settings_of(url=url)
    notice(tenant)
    tell()
    assert work(*jobs_named("billing.webhook")).state == "succeeded"
    assert next(one for one in deliveries() if one.channel == "webhook").state == "given_up"
    assert AuditEvent.select().where(AuditEvent.action == "billing_notice.given_up").count() == 1


def test_a_receiver_that_is_gone_gets_no_more(tenant, settings_of, receiver, jobs_named):
    settings_of(url=f"http://{receiver.host}/")
    receiver.answers = [410]
    notice(tenant)
    tell()
    assert work(*jobs_named("billing.webhook")).state == "succeeded"
    assert next(one for one in deliveries() if one.channel == "webhook").status_code == 410


def test_a_webhook_that_was_removed_gets_nothing(tenant, settings_of, receiver, jobs_named):
    settings_of(url=f"http://{receiver.host}/")
    notice(tenant)
    tell()
    settings_of()
    assert work(*jobs_named("billing.webhook")).state == "succeeded"
    assert receiver.got == []


def test_many_notices_are_told_by_several_workers_once(tenant, settings_of):
    settings_of([{"email": "a@example.com"}])
    for number in range(250):
        notice(tenant, key=str(number))
    crowd(3, lambda _: tell())
    tell()
    assert len(deliveries()) == 250 and len({one.notice_id for one in deliveries()}) == 250
