"""Processing Stripe's events: each on its own, again if it fails, and parked in the end."""

from datetime import timedelta

import pytest

from tests.support import stripe_objects
from tests.support.billing_histories import rows
from tests.support.billing_inbox import named, reload, stored
from tests.support.crowd import crowd
from tests.support.stripe_objects import START


@pytest.fixture
def receive(billing, prices):
    """receive(type, object, id, created=...) -> the stored row."""
    return stored


def run(name="billing.events", **args):
    """Do a job of this kind, as a worker does; then what it has left to others. Returns the job's row."""
    from models.jobs.ledger import Job
    from models.platform.database import transaction
    from workers.billing import events
    from workers.jobs import KINDS, enqueue
    from workers.runtime import execute

    function = {"billing.events": events.process_events, "billing.refresh": events.refresh}[name]
    with transaction():
        job = enqueue(KINDS[name], **args)
    execute(KINDS[name], function, str(job.id))
    return Job.get_by_id(job.id)


def make_due(row):
    from models.billing.events import InboxEvent
    from models.platform.clock import now

    InboxEvent.update(due_at=now()).where(InboxEvent.id == row.id).execute()


def test_an_event_is_applied_numbered_kept_in_its_form_and_published(receive, tenant, configure):
    from models.billing.events import stream_key
    from models.platform.redis import redis_client

    configure(enable_billing_stream=True)
    row = receive("customer.subscription.created", named(tenant))
    assert run().state == "succeeded"
    row = reload(row)
    assert (row.state, row.attempts, row.error, row.due_at, row.position) == ("processed", 1, None, None, 1)
    assert row.tenant_id == tenant.id and row.processed_at
    assert row.event["subscription"]["plan_code"] == "pro" and row.event["stripe_event_id"] == "evt_1"
    assert rows(tenant.id)["subscription"][0]["status"] == "active"
    assert [entry for entry, _ in redis_client().xrange(stream_key(tenant.id))] in ([b"1-0"], ["1-0"])


def test_every_handled_type_is_one_of_stripes(billing):
    import typing

    import stripe

    from workers.billing.events import HANDLERS

    known = typing.get_args(stripe.Event.__annotations__["type"]) or ()
    text = str(stripe.Event.__annotations__["type"])
    assert [
        name for name in HANDLERS if name not in known and f"'{name}'" not in text and f'"{name}"' not in text
    ] == []


def test_events_of_other_types_are_kept_numbered_if_they_are_a_tenants_and_change_nothing(receive, tenant):
    charge = receive(
        "charge.succeeded", named(tenant, lambda **more: {"id": "ch_1", "object": "charge"} | more), "evt_1"
    )
    product = receive("product.updated", {"id": "prod_1", "object": "product"}, "evt_2")
    run()
    charge, product = reload(charge), reload(product)
    assert (charge.state, charge.tenant_id, charge.position) == ("processed", tenant.id, 1)
    assert (product.state, product.tenant_id, product.position, product.event) == ("processed", None, None, None)
    assert rows(tenant.id)["subscription"] == []


def test_a_customer_of_nobody_here_is_not_waited_for(receive, tenant):
    row = receive("customer.updated", {"id": "cus_x", "object": "customer", "email": "a@example.com"})
    run()
    assert (reload(row).state, reload(row).tenant_id, reload(row).position) == ("processed", None, None)


def test_the_job_finds_the_oldest_first_and_stops_when_nothing_is_due(receive, tenant):
    for number in range(5):
        receive("customer.subscription.updated", named(tenant), f"evt_{4 - number}", START + number)
    run()
    from models.billing.events import InboxEvent

    order = InboxEvent.select(InboxEvent.external_id).order_by(InboxEvent.position)
    assert [row.external_id for row in order] == ["evt_4", "evt_3", "evt_2", "evt_1", "evt_0"]


def test_an_invoice_before_its_subscription_waits_and_then_goes_through(receive, tenant):
    invoice = receive("invoice.paid", stripe_objects.invoice(), "evt_1")
    run()
    row = reload(invoice)
    assert (row.state, row.attempts, row.position) == ("failed", 1, None)
    assert row.error.startswith("TenantUnknown") and row.due_at > row.received_at
    receive("customer.subscription.created", named(tenant), "evt_2")
    make_due(invoice)
    run()
    assert (reload(invoice).state, reload(invoice).tenant_id, reload(invoice).error) == ("processed", tenant.id, None)
    assert rows(tenant.id)["invoice"][0]["stripe_invoice_id"] == "in_1"


@pytest.fixture
def bug(monkeypatch):
    """A handler that writes and then fails, for invoice.paid."""
    from workers.billing import events

    def handle(thing, order):
        events.apply_invoice(thing, order)
        raise RuntimeError("sk_test_longshore was in here")

    monkeypatch.setitem(events.HANDLERS, "invoice.paid", handle)


def test_a_handlers_fault_is_one_events_failure_and_leaves_nothing_behind(receive, tenant, bug):
    bad = receive("invoice.paid", named(tenant, stripe_objects.invoice), "evt_1")
    good = receive("invoice.finalized", named(tenant, stripe_objects.invoice, id="in_2"), "evt_2")
    assert run().state == "succeeded"
    assert (reload(bad).state, reload(bad).position, reload(good).state) == ("failed", None, "processed")
    assert "sk_test_longshore" not in reload(bad).error and "RuntimeError" in reload(bad).error
    assert [row["stripe_invoice_id"] for row in rows(tenant.id)["invoice"]] == ["in_2"]
    assert reload(good).position == 1  # the failed one took no number


def test_an_event_that_always_fails_waits_longer_each_time_and_is_parked(receive, tenant, bug):
    from models.billing import inbox
    from models.platform.audit import AuditEvent

    row = receive("invoice.paid", named(tenant, stripe_objects.invoice))
    pauses = []
    for _ in range(inbox.ATTEMPTS - 1):
        make_due(row)
        run()
        pauses.append((reload(row).due_at - now()).total_seconds())
    expected = [inbox.backoff(number) for number in range(1, inbox.ATTEMPTS)]
    assert all(wanted - 5 < pause <= wanted for pause, wanted in zip(pauses, expected, strict=True))
    assert expected[:4] == [1, 2, 4, 8] and expected[-1] == 600 and sum(expected) < 3600
    assert not list(AuditEvent.select())
    make_due(row)
    run()
    parked = reload(row)
    assert (parked.state, parked.due_at, parked.attempts) == ("failed", None, inbox.ATTEMPTS)
    (event,) = AuditEvent.select()
    assert (event.action, event.subject, event.tenant_id) == ("billing.event_parked", "event:evt_1", tenant.id)
    assert event.details["type"] == "invoice.paid"


def now():
    from models.platform.clock import now

    return now()


def test_a_redelivery_makes_a_parked_event_go_through_once_its_cause_is_gone(receive, tenant, bug, monkeypatch):
    from models.billing.events import InboxEvent
    from workers.billing import events

    row = receive("invoice.paid", named(tenant, stripe_objects.invoice))
    InboxEvent.update(state="failed", due_at=None, attempts=15).execute()
    run()
    assert reload(row).state == "failed"
    monkeypatch.setitem(events.HANDLERS, "invoice.paid", events.apply_invoice)
    receive("invoice.paid", named(tenant, stripe_objects.invoice))
    run()
    assert (reload(row).state, reload(row).attempts) == ("processed", 16)


def test_an_event_that_is_processed_again_keeps_its_number_and_overwrites_nothing_newer(receive, tenant):
    first = receive("customer.subscription.updated", named(tenant), "evt_1", START)
    receive("customer.subscription.updated", named(tenant, status="past_due"), "evt_2", START + 5)
    run()
    before, form = rows(tenant.id), reload(first).event
    make_due(first)
    run()
    assert rows(tenant.id) == before
    again = reload(first)
    assert (again.position, again.event, again.state, again.due_at) == (1, form, "processed", None)


@pytest.mark.parametrize(
    "more",
    [{"livemode": True}, {"account": "acct_1"}],
    ids=["live though our key is of the test mode", "connected account"],
)
def test_an_event_of_another_world_changes_nothing(receive, tenant, more):
    row = receive("customer.subscription.created", named(tenant), **more)
    run()
    row = reload(row)
    assert (row.state, row.position) == ("processed", None)
    assert rows(tenant.id)["subscription"] == []


def test_a_crowd_of_jobs_processes_each_event_once_and_numbers_them_without_a_gap(receive, tenant, clean):
    from models.auth.tenants import Tenant
    from models.billing.events import InboxEvent
    from workers.billing.events import process_next

    other = Tenant.create(slug="other", name="Other")
    for number in range(60):
        owner = tenant if number % 3 else other
        thing = named(owner, id=f"sub_{owner.slug}")
        receive("customer.subscription.updated", thing, f"evt_{number}", START + number)

    def work(_):
        return sum(iter(process_next, False))

    assert sum(crowd(6, work)) == 60
    for owner, count in ((tenant, 40), (other, 20)):
        of_owner = InboxEvent.select(InboxEvent.position).where(InboxEvent.tenant_id == owner.id)
        assert sorted(row.position for row in of_owner) == list(range(1, count + 1))
    assert {row.attempts for row in InboxEvent.select()} == {1}


def test_few_jobs_at_once_work_on_the_inbox(receive, tenant):
    from models.jobs.ledger import Job
    from workers.billing.events import AT_ONCE

    row = receive("customer.subscription.updated", named(tenant))
    columns = {"name": "billing.events", "queue": "events", "args": {}, "state": "running", "max_failures": 1}
    others = [Job.create(**columns, lease_until=now() + timedelta(minutes=1)) for _ in range(AT_ONCE)]
    assert run().state == "succeeded" and reload(row).state == "received"
    others[0].delete_instance()
    run()
    assert reload(row).state == "processed"


def test_a_long_run_hands_over_to_a_new_job(receive, tenant, monkeypatch, jobs_named):
    from workers.billing import events

    monkeypatch.setattr(events, "SECONDS", -1)
    for number in range(2):
        receive("customer.subscription.updated", named(tenant), f"evt_{number}")
    run()
    assert [job.state for job in jobs_named("billing.events")] == ["succeeded", "queued"]


def test_the_scheduler_resumes_what_is_due_and_forgotten(receive, tenant, configure, jobs_named):
    from models.billing.events import InboxEvent
    from workers.jobs import resume_billing_events

    row = receive("customer.subscription.updated", named(tenant))
    assert resume_billing_events() == 0  # it has just come, and its job is on the way
    InboxEvent.update(due_at=now() - timedelta(seconds=5)).execute()
    configure(enable_billing=False)
    assert resume_billing_events() == 0
    configure(enable_billing=True)
    assert resume_billing_events() == 1 and resume_billing_events() == 0
    assert len(jobs_named("billing.events")) == 1
    run()
    assert reload(row).state == "processed"


def test_two_states_of_one_second_are_read_from_stripe(receive, tenant, jobs_named, monkeypatch):
    from workers.billing import events
    from workers.gateways.stripe import Answer, NotThere

    receive("customer.subscription.updated", named(tenant), "evt_2")
    run()
    assert jobs_named("billing.refresh") == []
    receive("customer.subscription.updated", named(tenant, cancel_at_period_end=True), "evt_1")
    run()
    (job,) = jobs_named("billing.refresh")
    assert job.args == {"subscription_id": "sub_1"} and rows(tenant.id)["subscription"][0]["auto_renew"]
    answer = Answer(named(tenant, cancel_at_period_end=True), now())
    monkeypatch.setattr(events, "call", lambda name, function: answer)
    assert run("billing.refresh", subscription_id="sub_1").state == "succeeded"
    assert not rows(tenant.id)["subscription"][0]["auto_renew"]

    def gone(*_):
        raise NotThere("No such subscription")

    monkeypatch.setattr(events, "call", gone)
    assert run("billing.refresh", subscription_id="sub_1").state == "succeeded"


def test_old_events_are_purged_whatever_their_state(receive, tenant):
    from models.billing import inbox
    from models.billing.events import InboxEvent

    for number in range(4):
        receive("customer.subscription.updated", named(tenant), f"evt_{number}")
    InboxEvent.update(received_at=now() - timedelta(days=401)).where(InboxEvent.external_id != "evt_3").execute()
    assert [inbox.purge(400, 2), inbox.purge(400, 2), inbox.purge(400, 2)] == [2, 1, 0]
    assert [row.external_id for row in InboxEvent.select()] == ["evt_3"]


def test_what_concerns_people_is_told_once_though_stripe_says_it_twice(receive, tenant):
    from models.billing.notices import Notice
    from models.platform.clock import now

    created = int(now().timestamp())
    receive("customer.subscription.created", named(tenant), created=created)
    for number in range(2):
        failed = named(tenant, stripe_objects.invoice, status="open")
        receive("invoice.payment_failed", failed, f"evt_failed_{number}", created=created)
    run()
    [notice] = Notice.select()
    assert (notice.tenant_id, notice.kind, notice.key) == (tenant.id, "payment_failed", "in_1")


def test_an_event_that_is_processed_again_stays_with_its_tenant(receive, tenant):
    from models.billing.events import number
    from models.platform.database import database, transaction

    with transaction():
        number(tenant.id)
    database.execute_sql("update billing_customer set stripe_customer_id = 'cus_1'")
    row = receive("charge.succeeded", {"id": "ch_1", "object": "charge", "customer": "cus_1"})
    run()
    assert (reload(row).tenant_id, reload(row).position) == (tenant.id, 2)
    database.execute_sql("update billing_customer set stripe_customer_id = null")
    make_due(row)
    run()
    assert (reload(row).tenant_id, reload(row).position, reload(row).state) == (tenant.id, 2, "processed")


def test_an_attempt_that_fails_sends_no_job(receive, tenant, monkeypatch):
    from models.billing import inbox
    from workers import jobs

    def broken(row, tenant_id):
        raise RuntimeError

    row = receive("customer.subscription.created", named(tenant))
    receive("customer.subscription.updated", named(tenant, status="past_due"), "evt_2")
    run()
    make_due(row)
    sent = []
    monkeypatch.setattr(jobs, "send", lambda jobs: sent.extend(job.name for job in jobs))
    monkeypatch.setattr(inbox, "finish", broken)
    from workers.billing.events import process_next

    assert process_next()
    assert (reload(row).state, sent) == ("failed", [])


def test_the_next_event_is_found_without_sorting_those_that_are_due_at_the_same_time(receive, tenant):
    from models.billing import inbox
    from models.platform.database import database, transaction

    receive("customer.subscription.updated", named(tenant))
    with transaction():
        database.execute_sql("set local enable_seqscan = off")
        plan = database.execute_sql(f"explain {inbox.TAKE.format(columns='*')}").fetchall()
    assert "inbox_event_due" in str(plan) and "Sort" not in str(plan)


def test_the_longest_id_is_parked_like_others_and_blocks_nothing(receive, tenant, bug):
    from models.billing import inbox

    longest = "e" * inbox.ID_LENGTH
    bad = receive(
        "invoice.paid", named(tenant, stripe_objects.invoice), longest, columns={"attempts": inbox.ATTEMPTS - 1}
    )
    good = receive("invoice.finalized", named(tenant, stripe_objects.invoice, id="in_2"), "evt_2")
    run()
    assert (reload(bad).state, reload(bad).due_at, reload(good).state) == ("failed", None, "processed")


def test_what_postgres_adds_of_the_row_is_not_kept_with_the_error(receive, tenant):
    from models.billing import inbox
    from models.platform.audit import AuditEvent

    row = receive("invoice.paid", named(tenant, stripe_objects.invoice, amount_paid="much"))
    inbox.InboxEvent.update(attempts=inbox.ATTEMPTS - 1).execute()
    run()
    [event] = AuditEvent.select()
    assert reload(row).state == "failed" and "LINE" not in reload(row).error
    assert event.details["error"] == reload(row).error and "\n" not in reload(row).error
