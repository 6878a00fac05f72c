"""Clients that follow the billing of a tenant, and a Stripe."""

import gevent
import pytest

from tests.support.billing import account, priced, stripe_account, stripe_part  # noqa: F401  (fixtures)


@pytest.fixture
def follow(tenant, configure):
    """follow(hub, after=None) -> a Follower of the tenant's billing that is already registered with the hub."""
    configure(enable_billing_stream=True)
    followers = []

    def start(hub, after=None):
        followers.append(Follower(hub, tenant, after))
        gevent.sleep(0.05)
        return followers[-1]

    yield start
    for follower in followers:
        follower.greenlet.kill()


class Follower:
    """A greenlet that follows a tenant's events and keeps the numbers that it gets. `pause`: seconds after each batch."""

    def __init__(self, hub, tenant, after, pause=0):
        self.got, self.batches, self.pause = [], 0, pause
        self.greenlet = gevent.spawn(self._follow, hub, tenant, after)

    def _follow(self, hub, tenant, after):
        from edge import billing_batches

        for batch in billing_batches.batches(tenant.id, *billing_batches.beginning(tenant.id, after), hub):
            self.batches += 1
            self.got += [entry.sequence for entry in batch]
            gevent.sleep(self.pause)

    def has(self, numbers, seconds=10):
        """Whether it gets exactly these numbers, in this order, within some seconds."""
        numbers = list(numbers)
        with gevent.Timeout(seconds, False):
            while len(self.got) < len(numbers):
                gevent.sleep(0.02)
        gevent.sleep(0.05)
        assert self.got == numbers
        return True
