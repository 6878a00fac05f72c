"""A service fails: its probe notices, an incident is opened, mail and webhook tell of it, the page and the feeds show it, and all
of them say when it is over. Over real processes."""

import hashlib
import hmac
import json
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from devstack import mails
from models.platform.ids import uuid7
from tests.support.mails import plain
from tests.support.receiver import Receiver

SUBSCRIPTIONS = "/api/v1/status/subscriptions"
SERVICE = "lab"  # of the live stack's services file: its probe gets live.site


@pytest.fixture
def receiver(live):
    found = Receiver(port=live.webhook_port)
    yield found
    found.stop()


@pytest.fixture
def hooked(live, receiver, wait_until):
    """(id, secret) of a subscription of the demo tenant, whose webhook has answered its challenge."""
    body = {"channel": "webhook", "target": f"http://{receiver.host}/status", "components": [SERVICE]}
    made = live.http.post(SUBSCRIPTIONS, json=body | {"severity_filter": "all"})
    assert made.status_code == 201, made.text
    challenge = wait_until(lambda: [json.loads(raw) for _, _, raw in receiver.got if b'"challenge"' in raw], 60)[-1]
    confirmed = httpx.post(f"{live.url}{SUBSCRIPTIONS}/challenge", json={"token": challenge["challenge"]}, timeout=30)
    assert confirmed.json()["status"] == "active", confirmed.text
    yield made.json()["id"], made.json()["webhook_secret"]
    live.http.delete(f"{SUBSCRIPTIONS}/{made.json()['id']}")


@pytest.fixture
def subscribed(live, wait_until):
    """The address of an anonymous subscriber who has confirmed it by the link in the mail."""
    address = f"status-{uuid7().hex}@example.com"
    body = {"channel": "email", "target": address, "components": [SERVICE]}
    made = httpx.post(f"{live.url}{SUBSCRIPTIONS}", json=body, timeout=30)
    assert made.status_code == 201, made.text
    mail = wait_until(lambda: mails_to(live, address), 90)[0]
    token = re.search(r"/confirm\?\S*token=([^\s&]+)", plain(mail))[1]
    confirmed = httpx.post(f"{live.url}{SUBSCRIPTIONS}/verify", json={"token": token}, timeout=30)
    assert confirmed.json()["status"] == "active", confirmed.text
    return address


def mails_to(live, address):
    found = [mails.read(file) for file in mails.stored(live.stack.state)]
    return [mail for mail in found if mail["To"] == address]


def told(live, address, state):
    return [mail for mail in mails_to(live, address) if mail["Subject"].startswith(f"[{state}]")]


def minutes_pass(live):
    """What was found so far is a minute older, and the workers are asked to probe, as the scheduler does each minute."""
    for step in ("1000 days", "-1000 days -1 minute"):
        live.sql("update status_check set minute = minute + %s::interval where service = %s", step, SERVICE)
    live.sql(
        "insert into job (id, name, queue, state, epoch, failures, max_failures, cancel_requested, due_at, sent_at)"
        " values (gen_random_uuid(), 'status.probe', 'events', 'queued', 0, 0, 1, false, now(), now() - interval '1 hour')"
    )


def wait_for_results(live, wait_until, count, result):
    """So many probes in a row find this."""
    found = "select count(*) from status_check where service = %s and result = %s"
    for _ in range(count):
        before = live.sql(found, SERVICE, result)[0][0]
        minutes_pass(live)
        wait_until(lambda before=before: live.sql(found, SERVICE, result)[0][0] > before, 90)


def test_a_service_that_fails_is_noticed_told_shown_and_forgiven(live, wait_until, receiver, hooked, subscribed):
    subscription_id, secret = hooked
    live.site.status = 500
    try:
        wait_for_results(live, wait_until, 3, "failed")
        [(incident_id, slug)] = wait_until(
            lambda: live.sql("select id, slug from status_incident where probe = %s and ended_at is null", SERVICE), 60
        )
        mail = wait_until(lambda: told(live, subscribed, "Investigating"), 90)[0]
        assert slug in plain(mail)
        opened = wait_until(lambda: events(receiver, "incident.opened"), 90)
        wait_until(lambda: shown(live) == ("incident", "investigating"), 60)
        wait_until(lambda: not without(live, slug, slug, "lab is not available"), 60)
    finally:
        live.site.status = 200
    headers, raw = opened[0]
    assert headers["X-Status-Signature"] == hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    said = json.loads(raw)
    assert (said["incident_id"], said["state"], said["subscription_id"]) == (slug, "investigating", subscription_id)

    wait_for_results(live, wait_until, 2, "good")
    assert wait_until(
        lambda: live.sql("select state from status_incident where id = %s", incident_id) == [("resolved",)], 60
    )
    assert wait_until(lambda: told(live, subscribed, "Resolved"), 90)
    assert wait_until(lambda: events(receiver, "incident.resolved"), 90)
    wait_until(lambda: shown(live) == ("operational", "resolved"), 60)
    wait_until(lambda: not without(live, slug, "resolved"), 60)
    leave_by_one_click(live, mail)
    assert len(told(live, subscribed, "Investigating")) == 1 == len(events(receiver, "incident.opened"))


def shown(live):
    """What anybody is shown: (state of the service, state of its newest incident)."""
    status = httpx.get(f"{live.url}/api/v1/status", timeout=30).json()
    [service] = [each for each in status["services"] if each["name"] == "Lab"]
    incidents = [each for each in status["incidents"] if "Lab" in each["service"]]
    return service["status"], incidents[0]["state"] if incidents else None


def without(live, slug, *words):
    """Those of what browsers, feed readers and clients of status pages get that have none of these words."""
    paths = (
        "/status",
        f"/status/incidents/{slug}",
        "/api/v1/status/rss",
        "/api/v1/status/atom",
        "/api/v2/incidents.json",
    )
    answers = {path: httpx.get(f"{live.url}{path}", timeout=30) for path in paths}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(paths, 200)
    return [path for path, answer in answers.items() if not any(word in answer.text.lower() for word in words)]


def leave_by_one_click(live, mail):
    """What a mail program does when somebody presses its button to unsubscribe (RFC 8058)."""
    url = urlsplit(mail["List-Unsubscribe"].strip("<>"))
    name, value = mail["List-Unsubscribe-Post"].split("=")
    answer = httpx.post(f"{live.url}{url.path}?{url.query}", data={name: value}, timeout=30)
    assert answer.status_code == 200, answer.text
    row_id = parse_qs(url.query)["subscription_id"][0]
    assert live.sql("select status from status_subscription where id = %s", row_id) == [("revoked",)]


def events(receiver, kind):
    return [(headers, raw) for _, headers, raw in receiver.got if json.loads(raw).get("type") == kind]
