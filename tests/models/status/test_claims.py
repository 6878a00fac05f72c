"""Claims: who sends which delivery, how many of one host at once, and what is put off."""

from datetime import timedelta

import pytest

from models.platform.clock import now
from tests.support.crowd import crowd
from tests.support.status import incident


@pytest.fixture
def fanout(clean):
    from models.status.deliveries import Fanout

    _, update = incident()
    return Fanout.create(update_id=update.id, severity="all", creator="user:1")


@pytest.fixture
def waiting(fanout):
    """waiting("a.example", 3, channel=...) -> so many deliveries that are due."""
    from models.platform.ids import uuid7
    from models.status.deliveries import StatusDelivery

    def make(host, count=1, channel="slack", **columns):
        columns = {"fanout_id": fanout.id, "update_id": fanout.update_id, "channel": channel, "host": host} | columns
        return [StatusDelivery.create(**({"target": str(uuid7()), "due_at": now()} | columns)) for _ in range(count)]

    return make


def claim(limit=100, after="", kind="posts"):
    from models.status import claims

    return claims.claim(kind, limit, after)


def hosts_of(claimed):
    return sorted(one.host for one in claimed.deliveries)


def record(*results):
    from models.platform.database import transaction
    from models.status import claims

    with transaction():
        return claims.record(results)


def result(delivery, state="delivered", **more):
    from models.status.claims import Result

    return Result(delivery, state, **more)


def silent(delivery):
    return result(delivery, "pending", error="No answer.", due_at=now(), is_silent=True)


def test_what_is_due_is_claimed_once(waiting):
    waiting("a.example"), waiting("b.example"), waiting("c.example", due_at=now() + timedelta(minutes=1))
    assert hosts_of(claim()) == ["a.example", "b.example"]
    assert hosts_of(claim()) == []


def test_of_one_host_some_are_claimed_at_once_and_it_keeps_no_other_waiting(waiting, configure):
    configure(status_host_concurrency=4)
    crowded = waiting("a.example", 50)
    waiting("b.example"), waiting("c.example")
    first = claim(10)
    assert hosts_of(first) == ["a.example"] * 4 + ["b.example", "c.example"]
    assert {one.id for one in first.deliveries} >= {one.id for one in crowded[:4]}  # those that have waited longest
    assert hosts_of(claim()) == []
    record(result(next(one for one in first.deliveries if one.host == "a.example")))
    assert hosts_of(claim()) == ["a.example"]


def test_who_asks_for_few_gets_the_next_hosts_next_time(waiting):
    for host in "abcde":
        waiting(f"{host}.example", 4)
    first = claim(8)
    assert set(hosts_of(first)) == {"a.example", "b.example"}
    second = claim(8, first.last_host)
    assert set(hosts_of(second)) == {"c.example", "d.example"}
    third = claim(8, second.last_host)
    assert set(hosts_of(third)) == {"e.example"} and third.last_host == ""


def test_a_crowd_of_senders_claims_each_once_and_no_host_too_often(waiting, configure):
    configure(status_host_concurrency=3)
    for host in range(10):
        waiting(f"{host}.example", 5)
    found = [one for claimed in crowd(16, lambda _: claim(7)) for one in claimed.deliveries]
    assert len({one.id for one in found}) == len(found) == 30
    assert all(hosts.count(host) == 3 for hosts in [[one.host for one in found]] for host in hosts)


def test_mails_are_claimed_apart_from_the_rest(waiting):
    waiting("email", 50, "email"), waiting("a.example")
    assert hosts_of(claim(kind="posts")) == ["a.example"]
    assert len(claim(40, kind="mails").deliveries) == 40


def test_of_a_slack_channel_only_one_is_sent_at_a_time(waiting):
    waiting("slack:#a", 3), waiting("slack:#b", 3)
    assert hosts_of(claim()) == ["slack:#a", "slack:#b"]


def test_what_a_killed_sender_had_is_claimed_again_and_counted(waiting):
    from models.status.deliveries import StatusDelivery

    waiting("a.example")
    [lost] = claim().deliveries
    past = now() - timedelta(seconds=1)
    StatusDelivery.update(claimed_until=past, due_at=past).execute()
    again = claim()
    assert [one.id for one in again.deliveries] == [one.id for one in again.again] == [lost.id]
    assert again.deliveries[0].attempts == 2
    assert record(result(lost, "given_up", error="I am late.")) == []  # the first sender comes back
    assert StatusDelivery.get().state == "pending"
    assert len(record(result(again.deliveries[0]))) == 1
    row = StatusDelivery.get()
    assert (row.state, row.claim, row.claimed_until) == ("delivered", None, None) and row.finished_at


def test_what_was_not_even_tried_is_due_as_before(waiting):
    waiting("a.example")
    [one] = claim().deliveries
    record(result(one, "pending", due_at=now(), is_unsent=True))
    [again] = claim().deliveries
    assert again.attempts == 1


def test_a_host_that_gives_no_answer_is_put_off_as_a_whole_and_then_asked_once(waiting):
    from models.platform.database import database

    waiting("dead.example", 20), waiting("good.example", 20)
    for _ in range(3):
        record(*[silent(one) if one.host == "dead.example" else result(one) for one in claim(8).deliveries])
    assert set(hosts_of(claim())) == {"good.example"}
    database.execute_sql("update status_host set put_off_until = now() - interval '1 second'")
    [probe] = [one for one in claim().deliveries if one.host == "dead.example"]
    record(result(probe))  # it is back
    assert hosts_of(claim()).count("dead.example") == 4


def test_the_longer_a_host_is_silent_the_longer_it_is_put_off_but_five_minutes_at_most(waiting):
    from models.platform.database import database

    waiting("dead.example")
    seconds = []
    for _ in range(14):
        database.execute_sql("update status_host set put_off_until = null; update status_delivery set due_at = now()")
        record(*[silent(one) for one in claim().deliveries])
        query = "select extract(epoch from put_off_until - updated_at)::float from status_host"
        seconds.append(database.execute_sql(query).fetchone()[0])
    assert seconds[:2] == [None, None] and 4 <= seconds[2] <= 6 and 240 <= seconds[-1] <= 360


def test_a_bad_answer_is_an_answer(waiting):
    waiting("shared.example", 20)
    for _ in range(5):
        record(*[result(one, "given_up", status_code=500, error="-") for one in claim(3).deliveries])
    assert len(claim().deliveries) == 4


def test_one_answer_beside_silences_keeps_a_host(waiting):
    waiting("shared.example", 40)
    for _ in range(5):
        first, *rest = claim().deliveries
        record(result(first), *map(silent, rest))
    assert len(claim().deliveries) == 4


def test_what_could_not_be_sent_in_its_time_is_given_up(waiting):
    from models.platform.database import transaction
    from models.status import claims
    from models.status.deliveries import StatusDelivery

    waiting("dead.example", give_up_at=now() - timedelta(hours=1), channel="webhook", due_at=now() + timedelta(hours=1))
    waiting("good.example")
    with transaction():
        assert claims.give_up_late() == ["webhook"]
    assert sorted(one.state for one in StatusDelivery.select()) == ["given_up", "pending"]


def test_what_waits_for_its_host_starts_no_sender(waiting):
    from models.platform.database import database
    from models.status import claims

    waiting("dead.example")
    database.execute_sql(
        "insert into status_host (host, failures, put_off_until) values ('dead.example', 9, now() + interval '1 minute')"
    )
    assert claims.next_due("posts", 10) is None
    assert claims.next_due("posts", 90) is not None


def test_an_ill_host_is_asked_for_what_was_not_tried_yet(waiting):
    """Not for what has failed before and is due for longer: those that always fail would hold up all others of the host."""
    from models.platform.database import database

    waiting("ill.example", 3, attempts=4, due_at=now() - timedelta(minutes=5))
    [fresh] = waiting("ill.example")
    database.execute_sql("insert into status_host (host, failures) values ('ill.example', 5)")
    assert [one.id for one in claim().deliveries] == [fresh.id]


def test_senders_that_write_down_the_opposite_do_not_block_each_other(waiting):
    from models.platform.database import release

    waiting("a.example", 60, channel="webhook")
    waiting("b.example", 60, channel="webhook")
    claimed = claim(2), claim(2)

    def write(number):
        by_host = {one.host: one for one in claimed[number].deliveries}
        good, bad = ("a.example", "b.example") if number else ("b.example", "a.example")
        for _ in range(60):
            record(result(by_host.get(good) or _at(good)), silent(by_host.get(bad) or _at(bad)))
        release()

    def _at(host):
        from models.status.deliveries import StatusDelivery

        return StatusDelivery.select().where(StatusDelivery.host == host).first()

    crowd(2, write)
