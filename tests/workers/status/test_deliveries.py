"""What becomes of deliveries: repeated, given up, refused, and sent once although senders are killed."""

import socket
from datetime import timedelta

import pytest

from models.platform.clock import now
from tests.support.hostile_targets import HOSTILE, PRIVATE, count_connections, resolve
from tests.support.receiver import Receiver
from tests.support.status import deliveries, fan_out, incident, later, subscribe


@pytest.fixture
def receiver(clean, configure, monkeypatch):
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    found = Receiver()
    configure(webhook_trusted_hosts=found.host)
    yield found
    found.stop()


def subscription():
    from models.status.subscriptions import StatusSubscription

    return StatusSubscription.get()


def test_a_failure_is_repeated_with_the_same_id_and_body(receiver):
    receiver.answers = [500, 503]
    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1])
    [waiting] = deliveries()
    assert (waiting.state, waiting.status_code, waiting.attempts) == ("pending", 500, 1)
    assert 3 < (waiting.due_at - now()).total_seconds() < 7
    later(), later()
    assert len({(headers["webhook-id"], body) for _, headers, body in receiver.got}) == 1
    [ended] = deliveries()
    assert (ended.state, ended.status_code, ended.attempts, len(receiver.got)) == ("delivered", 204, 3, 3)


def test_after_a_day_it_is_given_up_and_the_subscription_knows(receiver):
    receiver.answers = [500] * 20
    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1])
    for _ in range(11):
        later()
    [delivery] = deliveries()
    assert (delivery.state, delivery.attempts, len(receiver.got)) == ("given_up", 10, 10)
    assert subscription().failures == 1


def test_a_delivery_clears_former_failures(receiver):
    subscribe(f"http://{receiver.host}/", failures=3, failing_since=now())
    fan_out(incident()[1])
    assert (subscription().failures, subscription().failing_since) == (0, None)


def test_who_says_gone_is_told_nothing_any_more(receiver):
    receiver.answers = [410]
    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1])
    assert deliveries()[0].state == "given_up"
    assert (subscription().status, subscription().target_encrypted) == ("revoked", None)
    fan_out(incident()[1])
    assert len(receiver.got) == 1


def test_a_redirect_is_not_followed(receiver):
    receiver.answers, receiver.headers = [302], {"Location": f"http://{receiver.host}/elsewhere"}
    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1])
    assert [path for path, *_ in receiver.got] == ["/"] and deliveries()[0].status_code == 302


def test_who_leaves_meanwhile_gets_nothing(receiver):
    from models.platform.database import transaction
    from models.status import fanouts
    from models.status.subscriptions import StatusSubscription

    subscribe(f"http://{receiver.host}/")
    with transaction():
        fanouts.hand_out(fanouts.of_update(incident()[1].id).id)
    StatusSubscription.update(status="revoked").execute()
    later()
    assert not receiver.got and deliveries()[0].state == "skipped"


def test_after_a_rotation_both_secrets_sign(receiver):
    from models.status import signing
    from models.status.subscriptions import StatusSubscription

    row = subscribe(f"http://{receiver.host}/")
    StatusSubscription.update(**signing.columns("ab" * 32, row.secret)).execute()
    fan_out(incident()[1])
    assert len(receiver.got[0][1]["webhook-signature"].split()) == 2


def test_hostile_targets_are_refused_at_delivery_too(clean, monkeypatch):
    """As if they had been subscribed before they were refused."""
    from models.status.subscriptions import StatusSubscription, stored

    dialled = count_connections(monkeypatch)
    resolve(monkeypatch, ["127.0.0.1"])
    urls = {subscribe(f"https://{number}.example.com/").id: url for number, url in enumerate(HOSTILE) if url}
    for row_id, url in urls.items():
        StatusSubscription.update(**stored("webhook", url)).where(StatusSubscription.id == row_id).execute()
    fan_out(incident()[1])
    ended = {urls[one.subscription_id]: (one.state, one.attempts, bool(one.error)) for one in deliveries()}
    assert ended == dict.fromkeys(urls.values(), ("given_up", 1, True))
    assert len(ended) >= 40 and dialled == []


def test_names_that_lead_inside_at_delivery_are_refused(clean, monkeypatch):
    dialled = count_connections(monkeypatch)
    resolve(monkeypatch, *[["93.184.216.34", address] for address in PRIVATE])
    for number in range(len(PRIVATE)):
        subscribe(f"https://{number}.example.com/")
    fan_out(incident()[1])
    assert dialled == [] and [one.state for one in deliveries()] == ["given_up"] * len(PRIVATE)


def test_a_name_that_changes_after_the_check_leads_to_the_address_that_was_checked(clean, monkeypatch):
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    dialled = count_connections(monkeypatch)
    asked = resolve(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    subscribe("https://hooks.example.com/")
    fan_out(incident()[1])
    assert asked == ["hooks.example.com"] and dialled == ["93.184.216.34"]


def test_a_name_that_is_unknown_for_now_is_tried_again(clean, monkeypatch):
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    resolve(monkeypatch, socket.gaierror("no such name"))
    subscribe("https://hooks.example.com/")
    fan_out(incident()[1])
    assert deliveries()[0].state == "pending"


def test_a_fan_out_goes_on_where_it_was_killed(receiver):
    from models.platform.database import transaction
    from models.status import fanouts
    from models.status.deliveries import Fanout
    from workers.status import fan_out as actors

    for number in range(25):
        subscribe(f"http://{receiver.host}/{number}")
    _, update = incident()
    with transaction():
        fanout = fanouts.of_update(update.id)
    with transaction():
        assert fanouts.hand_out(fanout.id, 10)
    Fanout.update(created_at=now() - timedelta(hours=1)).execute()  # its job is dead
    assert actors.fanouts.unfinished() == [fanout.id]
    later()
    row = Fanout.get()
    assert row.total == len(receiver.got) == 25 and row.handed_out_at
    later()
    assert Fanout.get().finished_at and len(receiver.got) == 25


def test_a_sender_that_is_interrupted_loses_and_doubles_nothing(receiver, monkeypatch):
    from dramatiq.middleware import Shutdown

    from models.jobs.ledger import Job
    from models.platform.database import transaction
    from tests.support.jobs import do
    from tests.support.status import work
    from workers.jobs import STATUS_FAN_OUT, enqueue
    from workers.lease import Lease
    from workers.status import deliver
    from workers.status import fan_out as actors

    for number in range(60):
        subscribe(f"http://{receiver.host}/{number}")
    with transaction():
        enqueue(STATUS_FAN_OUT, update_id=str(incident()[1].id))
    do({"status.fan_out": actors.fan_out})
    calls = []

    def stop(self):
        calls.append(self.job.id)
        if calls.count(self.job.id) == 3:
            raise Shutdown

    with monkeypatch.context() as patch:
        patch.setattr(Lease, "checkpoint", stop)
        do({"status.deliver": deliver.deliver})
    assert 0 < len(receiver.got) < 60
    assert Job.select().where(Job.name == "status.deliver", Job.state == "queued").exists()
    work()
    assert sorted(path for path, *_ in receiver.got) == sorted(f"/{number}" for number in range(60))
    assert {one.attempts for one in deliveries()} == {1}


def test_old_deliveries_are_purged(receiver):
    from models.platform.database import database
    from models.status import fanouts
    from models.status.deliveries import Fanout

    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1]), fan_out(incident()[1])
    old = deliveries()[0]
    for table, column in (("status_delivery", "id"), ("status_fanout", "fanout_id")):
        days = "created_at = now() - interval '91 days'"
        database.execute_sql(f"update {table} set {days} where id = %s", (getattr(old, column),))
    while fanouts.purge():
        pass
    assert len(deliveries()) == 1 and Fanout.select().count() == 1


def test_a_restart_of_postgres_while_a_result_is_written_doubles_nothing(receiver, monkeypatch):
    from models.platform.database import database
    from models.status import claims

    record, cut = claims.record, []

    def record_once_cut(results):
        if not cut:
            cut.append(True)
            database.execute_sql("select pg_terminate_backend(pg_backend_pid())")
        return record(results)

    monkeypatch.setattr(claims, "record", record_once_cut)
    subscribe(f"http://{receiver.host}/")
    fan_out(incident()[1])
    [ended] = deliveries()
    assert cut and (ended.state, ended.attempts, len(receiver.got)) == ("delivered", 1, 1)
