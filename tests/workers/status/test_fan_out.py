"""Who is told of an update, and what they get."""

import hashlib
import hmac
import json

import pytest

from tests.support.receiver import Receiver
from tests.support.status import SECRET, deliveries, fan_out, incident, subscribe, update


@pytest.fixture
def receiver(clean, configure):
    found = Receiver()
    configure(webhook_trusted_hosts=found.host, status_page_url="https://status.example.com")
    yield found
    found.stop()


def test_a_webhook_gets_what_has_happened_signed_in_both_ways(receiver):
    row = subscribe(f"http://{receiver.host}/hook")
    found, first = incident(title="API <is> slow")
    fan_out(first)
    [(path, headers, body)] = receiver.got
    [delivery] = deliveries()
    assert path == "/hook" and delivery.state == "delivered" and delivery.attempts == 1
    told = json.loads(body)
    assert list(told) == sorted(told) and b": " not in body.replace(b"API ", b"")
    assert told["incident_id"] == found.slug and told["subscription_id"] == str(row.id)
    assert told["type"] == headers["X-Status-Event"] == "incident.opened"
    assert told["url"] == f"https://status.example.com/incidents/{found.slug}"
    assert headers["webhook-id"] == headers["X-Status-Delivery"] == f"msg_{delivery.id.hex}"
    assert headers["X-Status-Signature"] == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert headers["webhook-signature"].startswith("v1,")


def test_each_is_told_once_of_an_update(receiver, mailbox):
    subscribe(f"http://{receiver.host}/hook")
    subscribe("ada@example.com")
    _, first = incident()
    fan_out(first)
    fan_out(first)
    assert len(receiver.got) == 1
    [(to, mail)] = mailbox.mails
    assert to == ["ada@example.com"] and mail["Subject"] == "[Investigating] API incident"


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("minor", ["all"]),
        ("major", ["all", "major"]),
        ("critical", ["all", "major"]),
        ("maintenance", ["all", "maintenance"]),
    ],
)
def test_the_filter_decides_who_is_told(receiver, severity, told):
    rows = {
        subscribe(f"http://{receiver.host}/{name}", severity=name).id: name for name in ("all", "major", "maintenance")
    }
    kind = "maintenance" if severity == "maintenance" else "incident"
    _, first = incident(severity=severity, kind=kind, state="scheduled" if kind == "maintenance" else "investigating")
    fan_out(first)
    assert sorted(rows[one.subscription_id] for one in deliveries()) == told


def test_components_decide_who_is_told(receiver):
    for name, components in {"any": [], "api": ["api", "chat"], "storage": ["storage"]}.items():
        subscribe(f"http://{receiver.host}/{name}", components=components)
    fan_out(incident(services={"api": "degraded", "billing": "incident"})[1])
    assert sorted(path for path, *_ in receiver.got) == ["/any", "/api"]


def test_an_incident_of_everything_is_told_to_all(receiver):
    subscribe(f"http://{receiver.host}/storage", components=["storage"])
    fan_out(incident(services={})[1])
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", ["pending_verification", "revoked", "disabled"])
def test_only_active_subscriptions_are_told(receiver, status):
    subscribe(f"http://{receiver.host}/", status=status)
    fan_out(incident()[1])
    assert not receiver.got and not deliveries()


@pytest.mark.parametrize("how", [{"published": False}, {"notify": False}])
def test_drafts_and_silent_updates_are_told_to_nobody(receiver, how):
    subscribe(f"http://{receiver.host}/")
    fan_out(incident(**how)[1])
    assert not receiver.got and not deliveries()


def test_events_tell_first_updates_from_later_and_last_ones(receiver):
    subscribe(f"http://{receiver.host}/")
    row, first = incident()
    for one in (first, update(row, state="identified"), update(row, state="resolved")):
        fan_out(one)
    assert [headers["X-Status-Event"] for _, headers, _ in receiver.got] == [
        "incident.opened",
        "incident.updated",
        "incident.resolved",
    ]


def test_the_first_that_is_told_of_a_draft_is_that_it_was_opened(receiver):
    subscribe(f"http://{receiver.host}/")
    row, _ = incident()
    fan_out(update(row, state="identified"))
    assert receiver.got[0][1]["X-Status-Event"] == "incident.opened"
