"""A run to follow."""

import gevent
import pytest


@pytest.fixture(autouse=True)
def _nobody_watches_from_before():
    """The greenlet of an earlier test's stream would find that the callers of this one have no session."""
    from edge.watch import watch

    yield
    if watch.greenlet:
        gevent.kill(watch.greenlet)
    watch.greenlet = None


@pytest.fixture
def run(person, ask):
    return ask(person())


@pytest.fixture
def write(run):
    """write(1, 2, ...): append events with these sequence numbers to the run's stream."""
    from models.runs import progress

    return lambda *numbers: progress.append(
        run.id, [(number, "raw_response", b'{"n":%d}' % number) for number in numbers]
    ).wait()


@pytest.fixture
def end_in_postgres(run):
    """end_in_postgres(number=9) -> the ended run, whose terminal event Redis never gets."""
    from models.platform.database import transaction
    from models.runs import events
    from models.runs.run import Run

    def end(number=9):
        with transaction():
            run.finish("succeeded", events.succeeded("c", "triage", "hi", None), number)
        return Run.get_by_id(run.id)

    return end


@pytest.fixture
def end(end_in_postgres):
    """end(number=9) -> the ended run, whose terminal event is in Postgres and Redis."""
    from models.runs import progress

    def make(number=9):
        ended = end_in_postgres(number)
        progress.send_terminal(ended)
        return ended

    return make


class Follower:
    """A greenlet that follows a run and keeps the sequence numbers that it gets."""

    def __init__(self, hub, run, after):
        self.greenlet = gevent.spawn(self._follow, hub, run, after)

    @staticmethod
    def _follow(hub, run, after):
        from edge import relay

        return [entry.sequence for batch in relay.batches(run, after, hub) for entry in batch]

    def numbers(self, seconds=5):
        """All sequence numbers, once the stream has ended."""
        self.greenlet.join(seconds)
        assert self.greenlet.ready(), "the client is still waiting"
        return self.greenlet.get()


@pytest.fixture
def follow(run):
    """follow(hub, after=0) -> a Follower of the run that is already registered with the hub."""

    def start(hub, after=0):
        follower = Follower(hub, run, after)
        gevent.sleep(0.05)
        return follower

    return start
