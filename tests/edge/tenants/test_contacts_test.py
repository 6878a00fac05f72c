"""A test mail to those who are told about billing."""

import pytest

from models.billing.subscription import Subscription
from models.jobs.ledger import Job
from models.tenants.settings import TenantSettings
from tests.support.accounts import count_events, is_rate_limited
from tests.support.jobs import do
from tests.support.mails import plain
from tests.support.routes import assert_envelope
from workers.mail.billing import mail_test

PATH = "/api/v1/tenants/settings/billing-contacts/test"


@pytest.fixture
def call(http, signed):
    headers, _ = signed("admin")
    return lambda: http.simulate_post(PATH, headers=headers)


def contact(email, notify=True):
    return {"name": "Jo", "email": email, "role": None, "phone": None, "notify_billing": notify}


def test_each_contact_who_wants_it_gets_a_mail(call, tenant, mailbox):
    contacts = [contact("jo@example.com"), contact("al@example.com"), contact("no@example.com", notify=False)]
    TenantSettings.create(tenant_id=tenant.id, billing_contacts=contacts)
    answer = call()
    assert (answer.status_code, answer.json) == (202, {"recipients": 2})
    assert do({"mail.billing_test": mail_test}) == 2
    assert sorted(recipients for recipients, _ in mailbox.mails) == [["al@example.com"], ["jo@example.com"]]
    assert tenant.name in plain(mailbox.mails[0][1])
    assert count_events("tenant_settings.contacts_tested") == 1


def test_without_contacts_the_subscriptions_address_gets_it(call, tenant):
    Subscription.create(tenant_id=tenant.id, plan_code="starter", status="active", billing_email="bills@example.com")
    assert call().json == {"recipients": 1}
    assert Job.get(Job.name == "mail.billing_test").args == {"to": "bills@example.com"}


def test_where_nobody_would_be_told_that_is_said(call):
    assert_envelope(call(), 409, "no_billing_contacts")


def test_nobody_is_flooded_with_tests(call, tenant):
    TenantSettings.create(tenant_id=tenant.id, billing_contacts=[contact("jo@example.com")])
    assert [call().status_code for _ in range(5)] == [202] * 5
    assert is_rate_limited(call(), "billing_contacts_test")
