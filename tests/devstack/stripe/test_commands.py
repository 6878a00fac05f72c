"""`./dev stripe`, as a person types it."""

import contextlib
import json
import threading
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from devstack import cli, instance
from tests.devstack.stripe.conftest import eventually


@pytest.fixture
def dev(part, monkeypatch):
    """dev("advance", "1 month") -> what it prints; `fails=True` if it has to exit with an error, which is returned."""
    monkeypatch.setattr(instance, "require", lambda state: SimpleNamespace(stripe_api_base=part.url))

    def run(*arguments, fails=False):
        result = CliRunner().invoke(cli.app, ["stripe", *arguments])
        assert (result.exit_code != 0) is fails, result.output
        return str(result.exception) if fails else result.output

    return run


@pytest.fixture
def subscription(api, plan, customer):
    return api.subscriptions.create({"customer": customer().id, "items": [{"price": plan.seat}]})


def test_time_moves_and_says_what_happened(api, dev, subscription):
    output = dev("advance", "1 month 2 hours")
    assert "customer.subscription.updated" in output and "invoice.paid" in output and "UTC" in output
    assert len(api.invoices.list({"subscription": subscription.id}).data) == 2
    assert "is not a time" in dev("advance", "soon", fails=True)


def test_payments_are_declined_and_accepted_again(api, dev, plan, subscription):
    change = {
        "items": [{"id": subscription["items"].data[0].id, "quantity": 5}],
        "proration_behavior": "always_invoice",
    }
    assert subscription.customer in dev("decline", subscription.customer)
    assert api.subscriptions.update(subscription.id, change).status == "past_due"
    dev("accept", subscription.customer)
    assert api.invoices.pay(api.subscriptions.retrieve(subscription.id).latest_invoice).status == "paid"
    assert "There is no customer" in dev("decline", "nobody", fails=True)


def test_an_event_is_triggered_sent_and_sent_once_more(dev, hooks, subscription):
    hooks.received.clear()
    assert subscription.id in dev("trigger", "customer.subscription.updated", "--subscription", subscription.id)
    body, _ = eventually(lambda: [pair for pair in hooks.received if b"customer.subscription.updated" in pair[0]])[0]
    event = json.loads(body)["id"]
    before = hooks.received.copy()
    assert "1 deliveries" in dev("resend", event)
    eventually(lambda: len(hooks.received) > len(before))
    assert "Unknown event type" in dev("trigger", "nonsense", fails=True)


def test_what_there_is_is_shown(dev, subscription):
    assert json.loads(dev("show"))["objects"]["subscription"] >= 1
    newest = json.loads(dev("show", "subscription", "--customer", subscription.customer))
    assert [item["id"] for item in newest] == [subscription.id]


def test_open_pages_are_listed(api, dev, plan, subscription):
    line_items = [{"price": plan.seat, "quantity": 1}]
    session = api.checkout.sessions.create(
        {"mode": "subscription", "line_items": line_items, "success_url": "http://x/"}
    )
    assert session.url in dev("pages").splitlines()
    api.checkout.sessions.expire(session.id)
    assert session.url not in dev("pages")


def test_faults_and_webhooks_are_set(dev):
    assert "2 x  lost  POST /v1/prices" in dev("fault", "POST /v1/prices", "lost", "--times", "2")
    assert dev("fault", "--clear") == ""
    assert "is not a fault" in dev("fault", "*", "explode", fails=True)
    assert json.loads(dev("webhooks", "--ordered", "--twice", "0.5"))["ordered"] is True
    assert json.loads(dev("webhooks", "--no-ordered", "--twice", "0"))["twice"] == 0
    assert dev("after-retries", "unpaid") == "unpaid\n" and dev("after-retries", "canceled") == "canceled\n"


def test_listening_prints_deliveries(api, dev, monkeypatch, hooks, capsys):
    class Enough(Exception):
        pass

    rounds = iter(range(400))

    def pause(_):
        if next(rounds) == 0:
            api.products.create({"name": "Heard"})
        threading.Event().wait(0.02)
        if "product.created" in capsys.readouterr().out:
            raise Enough

    from devstack import stripe_commands

    monkeypatch.setattr(stripe_commands, "time", SimpleNamespace(sleep=pause))
    with pytest.raises(Enough), contextlib.suppress(StopIteration):
        stripe_commands.listen(None)


def test_an_instance_with_another_stripe_is_left_alone(dev, monkeypatch):
    monkeypatch.setattr(instance, "require", lambda state: SimpleNamespace(stripe_api_base=None))
    assert "not the stand-in" in dev("decline", "anyone", fails=True)
