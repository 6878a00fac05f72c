"""What is open ends when its caller may not read the run any more."""

import falcon
import gevent
import pytest

from edge import relay
from edge import watch as watching
from models.auth import authority
from models.auth.service_tokens import ServiceToken
from models.platform.errors import NotAuthenticated
from tests.support.changes import CHANGES, change_role, disable, end_sessions, issued, principal

AWAY = "redis://127.0.0.1:1/0"


@pytest.fixture
def watched(monkeypatch):
    """The process's watch, checking every tenth of a second."""
    assert watching.CHECK_SECONDS < 5
    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.1)
    fresh = watching.Watch()
    monkeypatch.setattr(relay, "watch", fresh)
    yield fresh
    if fresh.greenlet:
        fresh.greenlet.kill()


@pytest.fixture
def follow_as(ask, hub, watched):
    """follow_as(follower, asker) -> a greenlet that reads the stream of a run that never says anything."""

    def start(follower, asker):
        resp = falcon.Response()
        relay.follow(resp, ask(asker), follower, hub=hub)
        greenlet = gevent.spawn(list, resp.stream)
        gevent.sleep(0.05)
        return greenlet

    return start


def ends(greenlet, seconds=2):
    greenlet.join(seconds)
    if greenlet.ready():
        return True
    greenlet.kill()
    return False


@pytest.mark.parametrize("change", ["session", "status", "membership"])
@pytest.mark.parametrize("redis", ["up", "away"])
def test_an_open_stream_ends_with_the_right_to_read_it(signed, follow_as, configure, change, redis):
    _, user = signed("member")
    stream = follow_as(principal(user), principal(user))
    if redis == "away":
        configure(redis_url=AWAY)
    CHANGES[change](user)
    assert ends(stream)


def test_a_stream_ends_when_a_lowered_role_does_not_see_its_run(signed, follow_as):
    (_, admin), (_, asker) = signed("admin"), signed("member")
    theirs, own = follow_as(principal(admin), principal(asker)), follow_as(principal(admin), principal(admin))
    change_role(admin, "viewer")
    assert ends(theirs) and not ends(own, 0.5)


def test_a_stream_goes_on_when_a_role_is_raised(signed, follow_as):
    _, user = signed("member")
    stream = follow_as(principal(user), principal(user))
    change_role(user, "admin")
    assert not ends(stream, 0.5)


def test_a_machines_stream_ends_with_the_rights_of_the_issuer(signed, owner, follow_as):
    (_, admin), (_, asker) = signed("admin"), signed("member")
    issued(admin)
    token = ServiceToken.get()
    machine = authority.principal_of(
        {"sub": "service-account:analytics-batch", "tenant_id": str(token.tenant_id), "sid": str(token.id)}
    )
    stream = follow_as(machine, principal(asker))
    change_role(admin, "member")
    assert ends(stream)


def test_a_request_that_waits_for_its_run_ends_as_well(signed, ask, hub, watched):
    _, user = signed("member")
    waiting = gevent.spawn(relay.wait, ask(principal(user)), principal(user), 10, hub)
    gevent.sleep(0.05)
    disable(user)
    waiting.join(2)
    assert isinstance(waiting.exception, NotAuthenticated)


def test_streams_are_checked_together_and_forgotten_when_they_close(signed, ask, hub, monkeypatch):
    monkeypatch.setattr(watching, "BATCH", 2)
    asked = []
    watch = watching.Watch(lambda ids: asked.append(set(ids)) or authority.look_up(ids))
    users = [signed("member")[1] for _ in range(3)]
    permits = [watch.permit(principal(user), ask(principal(user)), hub) for user in users]
    watch.check()
    assert [len(ids) for ids in asked] == [2, 1] and all(permit.valid for permit in permits)
    end_sessions(users[0])
    watch.check()
    assert [permit.valid for permit in permits] == [False, True, True]
    permits.clear()
    assert not watch.permits


def test_streams_go_on_while_postgres_does_not_answer(signed, ask, hub, monkeypatch):
    def away(ids):
        raise RuntimeError("away")

    monkeypatch.setattr(watching, "CHECK_SECONDS", 0.01)
    watch = watching.Watch(away)
    _, user = signed("member")
    permit = watch.permit(principal(user), ask(principal(user)), hub)
    gevent.sleep(0.05)
    watch.look_up = authority.look_up
    gevent.sleep(0.05)
    assert permit.valid and watch.greenlet
    end_sessions(user)
    gevent.sleep(0.1)
    assert not permit.valid
