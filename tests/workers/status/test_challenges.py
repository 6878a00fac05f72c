"""Challenges and tests of webhooks: what is sent, how it is signed, and what is written down of it."""

import base64
import hashlib
import hmac
import json

import pytest

from models.jobs.ledger import Job
from models.platform.clock import now
from models.platform.database import transaction
from models.status import subscribing
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, StatusSubscription
from tests.support import jobs
from tests.support.hostile_targets import PRIVATE, count_connections, resolve
from tests.support.receiver import Receiver
from tests.support.status import SECRET, subscribe


@pytest.fixture
def receiver(clean, configure):
    found = Receiver()
    configure(webhook_trusted_hosts=found.host)
    yield found
    found.stop()


def do(name, row):
    """Have the job done once; its row afterwards."""
    from workers.jobs import KINDS, enqueue
    from workers.status import challenges

    with transaction():
        job = enqueue(KINDS[name], subscription_id=str(row.id))
    jobs.do({"status.challenge": challenges.challenge, "status.test": challenges.test})
    return Job.get_by_id(job.id)


def again(row):
    return StatusSubscription.get_by_id(row.id)


def hook(receiver, status=PENDING, **more):
    return subscribe(f"http://{receiver.host}/hook", status=status, **more)


@pytest.mark.parametrize("status", [PENDING, DISABLED])
def test_a_challenge_can_be_verified_and_answered(receiver, status):
    row = hook(receiver, status)
    assert do("status.challenge", row).state == "succeeded"
    [(path, headers, body)] = receiver.got
    sent = json.loads(body)
    assert path == "/hook" and list(sent) == sorted(sent) and b" " not in body
    assert (sent["type"], sent["subscription_id"]) == ("subscription.challenge", str(row.id))
    assert headers["X-Status-Event"] == "subscription.challenge"
    assert headers["X-Status-Signature"] == hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = hmac.digest(base64.b64decode(SECRET), signed, hashlib.sha256)
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(expected).decode()}"
    with transaction():
        assert subscribing.answer_challenge(sent["challenge"]).status == ACTIVE
    row = again(row)
    assert row.checked_at and row.sent_at and row.error is None


@pytest.mark.parametrize("status", [ACTIVE, REVOKED])
def test_one_that_needs_none_gets_none(receiver, status):
    assert do("status.challenge", hook(receiver, status)).state == "succeeded"
    assert receiver.got == []


def test_a_receiver_that_fails_is_asked_again_and_its_owner_can_read_why(receiver):
    receiver.answers = [500]
    row = hook(receiver)
    job = do("status.challenge", row)
    assert (job.state, job.failures) == ("queued", 1)
    assert again(row).error == "It did not accept the message. It answered 500."
    from workers.status import challenges

    jobs.do({"status.challenge": challenges.challenge})
    assert again(row).error is None
    challenges_sent = [json.loads(body)["challenge"] for _, _, body in receiver.got]
    assert len(challenges_sent) == 2
    with transaction():
        assert subscribing.answer_challenge(challenges_sent[0]).status == ACTIVE


def test_a_receiver_that_is_gone_ends_it(receiver):
    receiver.answers = [410]
    row = hook(receiver)
    assert do("status.challenge", row).state == "succeeded"
    assert (again(row).status, again(row).target_encrypted) == (REVOKED, None)


def test_a_name_that_leads_inside_is_not_asked(clean, monkeypatch):
    dialled = count_connections(monkeypatch)
    resolve(monkeypatch, *([address] for address in PRIVATE))
    for number in range(len(PRIVATE)):
        row = subscribe(f"https://hook{number}.example.com/", status=PENDING)
        job = do("status.challenge", row)
        assert (job.state, dialled, again(row).status) == ("succeeded", [], PENDING)
        assert "not public" in again(row).error


def test_a_test_is_sent_once(receiver):
    receiver.answers = [503, 204]
    row = hook(receiver, ACTIVE)
    assert do("status.test", row).state == "succeeded"
    assert len(receiver.got) == 1 and again(row).error == "It did not accept the message. It answered 503."
    assert again(row).status == ACTIVE
    do("status.test", row)
    assert json.loads(receiver.got[1][2])["type"] == "subscription.test" and again(row).error is None


def test_during_a_rotation_both_secrets_sign(receiver):
    from models.status import signing

    row = hook(receiver, ACTIVE)
    new = "ab" * 32
    StatusSubscription.update(**signing.columns(new, row.secret)).execute()
    do("status.test", row)
    [(_, headers, body)] = receiver.got
    assert len(headers["webhook-signature"].split()) == 2
    assert headers["X-Status-Signature"] == hmac.new(new.encode(), body, hashlib.sha256).hexdigest()


def test_an_erased_target_is_not_asked(receiver):
    row = hook(receiver)
    StatusSubscription.update(target_encrypted=None).execute()
    assert do("status.challenge", row).state == "succeeded"
    assert (receiver.got, again(row).error) == ([], "It was erased.")
    assert again(row).updated_at <= now()
