"""A failed payment reaches people: from Stripe's webhook to a mail and to the tenant's own webhook, over real processes."""

import base64
import hashlib
import hmac
import json

import httpx
import pytest

from models.platform.clock import now
from models.platform.ids import uuid7
from tests.support import stripe_objects
from tests.support.mails import plain
from tests.support.receiver import Receiver
from tests.support.stripe_webhooks import signed

SETTINGS = "/api/v1/tenants/settings"


@pytest.fixture
def receiver(live):
    found = Receiver(port=live.webhook_port)
    yield found
    found.stop()


@pytest.fixture
def billed(live, receiver):
    """(tenant id, secret) of the demo tenant, which has a contact and a webhook until the end of the test."""
    contact = {"name": "Jo", "email": f"billing-{uuid7().hex}@example.com"}
    hook = f"http://{receiver.host}/hook"
    body = {"billing_contacts": [contact], "billing_webhook_url": hook, "plan_metadata": {}, "flags": {}}
    saved = live.http.put(SETTINGS, json=body)
    assert saved.status_code == 200, saved.text
    secret = live.http.post(f"{SETTINGS}/billing-webhook/secret").json()["secret"]
    yield saved.json()["tenant_id"], contact["email"], secret
    live.http.put(SETTINGS, json={"billing_contacts": [], "plan_metadata": {}, "flags": {}})


def test_a_failed_payment_is_told_once_though_stripe_says_it_twice(live, wait_until, receiver, billed):
    tenant_id, address, secret = billed
    invoice = stripe_objects.invoice(
        id=f"in_{uuid7().hex}", status="open", number="A-1", metadata={"tenant_id": tenant_id}
    )
    for _ in range(2):
        event_id = f"evt_{uuid7().hex}"
        event = stripe_objects.event("invoice.payment_failed", invoice, event_id, int(now().timestamp()))
        raw, headers = signed(event | {"livemode": False}, live.stack.env["STRIPE_WEBHOOK_SECRET"])
        assert httpx.post(f"{live.url}/webhooks/stripe", content=raw, headers=headers, timeout=30).status_code == 202
    mail = wait_until(lambda: live.mail(address, "A payment has failed"), 100)
    assert "99.00 USD" in plain(mail) and "invoice A-1" in plain(mail)
    [(path, headers, body)] = wait_until(lambda: receiver.got, 100)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(base64.b64decode(secret[6:]), content, hashlib.sha256)
    assert headers["webhook-signature"].split(" ")[0] == f"v1,{base64.b64encode(expected).decode()}"
    sent = json.loads(body)
    assert path == "/hook" and (sent["type"], sent["data"]["invoice_id"]) == ("billing.payment_failed", invoice["id"])
    deliveries = f"{SETTINGS}/billing-webhook/deliveries"
    assert wait_until(lambda: live.http.get(deliveries).json()["items"][0]["state"] == "delivered", 30)
    [(told,)] = live.sql("select count(*) from billing_notice where key = %s", invoice["id"])
    assert told == 1 and len(receiver.got) == 1
