"""What becomes of subscriptions whose deliveries fail, and their nightly tending."""

from datetime import timedelta

import pytest

from models.jobs.ledger import Job
from models.platform.audit import AuditEvent
from models.platform.clock import now
from models.platform.database import transaction
from models.status import ending
from models.status.signing import signing_secrets
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription, is_target, target
from tests.support import jobs
from tests.support.status import SECRET, subscribe

URL = "https://hook.example.com/"


def record(delivered=(), given_up=None, gone=()):
    from workers.status import outcomes

    with transaction():
        outcomes.record(delivered, given_up or {}, gone)


def again(row):
    return StatusSubscription.get_by_id(row.id)


def test_a_webhook_is_disabled_after_many_failures_and_once(clean, jobs_named):
    row = subscribe(URL)
    for _ in range(ending.MOST_FAILURES - 1):
        record(given_up={row.id: "It cannot be reached."})
    assert (again(row).status, again(row).failures, jobs_named("status.disabled")) == (ACTIVE, 19, [])
    for _ in range(3):
        record(given_up={row.id: "x" * 9000})
    assert (again(row).status, len(again(row).error)) == (DISABLED, ending.ERROR_LENGTH)
    assert len(jobs_named("status.disabled")) == 1
    [event] = AuditEvent.select()
    assert (event.action, event.subject) == ("status_subscription.disabled", f"status_subscription:{row.id}")


def test_or_after_days_if_several_have_failed_in_them(clean):
    row = subscribe(URL)
    record(given_up={row.id: "a"})
    StatusSubscription.update(failing_since=now() - timedelta(days=ending.FAILING_DAYS)).execute()
    record(given_up={row.id: "a"})
    assert again(row).status == ACTIVE, "two are no pattern"
    record(given_up={row.id: "a"})
    assert again(row).status == DISABLED


def test_a_delivery_that_arrives_forgives_the_former_ones(clean):
    row, other = subscribe(URL), subscribe("https://other.example.com/")
    record(given_up={row.id: "a", other.id: "b"})
    record(delivered=[row.id])
    assert (again(row).failures, again(row).failing_since, again(row).error) == (0, None, None)
    assert again(other).failures == 1


def test_mails_are_not_disabled(clean):
    row = subscribe("jo@example.com")
    for _ in range(ending.MOST_FAILURES + 1):
        record(given_up={row.id: "a"})
    assert (again(row).status, again(row).failures) == (ACTIVE, 0)


def test_a_receiver_that_is_gone_ends_it(clean):
    row = subscribe(URL)
    record(gone=[row.id])
    assert (again(row).status, again(row).revoked_reason, again(row).target_encrypted) == (REVOKED, "gone", None)


# ---------------------------------------------------------------- each night


def purge():
    from workers.jobs import STATUS_PURGE, enqueue
    from workers.status import outcomes

    with transaction():
        job = enqueue(STATUS_PURGE)
    jobs.do({"status.purge": outcomes.purge})
    assert Job.get_by_id(job.id).state == "succeeded"


def test_what_is_of_no_use_any_more_is_deleted(clean):
    kept = [
        subscribe("a@example.com", status=PENDING, token_expires_at=now() - timedelta(hours=23)),
        subscribe("b@example.com"),
        subscribe("c@example.com", status=REVOKED, revoked_at=now() - timedelta(days=89)),
        subscribe(URL, status=DISABLED, token_expires_at=now() - timedelta(days=99)),
    ]
    subscribe("d@example.com", status=PENDING, token_expires_at=now() - timedelta(hours=25))
    subscribe("e@example.com", status=REVOKED, revoked_at=now() - timedelta(days=91))
    purge()
    assert {row.id for row in StatusSubscription.select()} == {row.id for row in kept}


def test_a_former_key_may_be_forgotten_after_a_night(clean, configure):
    configure(secret_key="a" * 40)
    row = subscribe(URL)
    StatusSubscription.update(secret_before=row.secret, secret_changed_at=now()).execute()
    lost = subscribe("https://lost.example.com/")
    StatusSubscription.update(target_encrypted="x", secret="x").where(StatusSubscription.id == lost.id).execute()
    configure(secret_key="b" * 40, secret_key_previous="a" * 40)
    purge()
    configure(secret_key="b" * 40, secret_key_previous=None)
    assert (target(again(row)), signing_secrets(again(row))) == (URL, [SECRET, SECRET])
    assert StatusSubscription.select().where(is_target("webhook", URL)).count() == 1


@pytest.mark.parametrize("previous", ["a" * 40, None])
def test_nothing_is_written_if_the_key_is_the_same(clean, configure, previous):
    from models.status import renewal

    configure(secret_key="b" * 40, secret_key_previous=previous)
    subscribe(URL)
    assert renewal.encrypt_again() == 0
