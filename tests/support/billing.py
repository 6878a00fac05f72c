"""Billing in tests: the stand-in for Stripe, a worker of operations, and tenants with subscriptions."""

import httpx
import pytest

from tests.support.jobs import do, working
from tests.support.stripe import settings_of, standin, sync_plans


class Account:
    """The account at Stripe as a test sees it."""

    def __init__(self, url):
        self.url, self.http = url, httpx.Client(base_url=url, timeout=30)

    def tell(self, command, **body):
        answer = self.http.post(f"/_standin/{command}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def objects(self, kind, **filters):
        return self.tell("show", kind=kind, limit=1000, **filters)["objects"]

    def fault(self, operation, kind="status", **more):
        """The next call of an operation, such as "POST /v1/subscriptions", goes wrong."""
        return self.tell("fault", operation=operation, kind=kind, **more)

    def of(self, kind, tenant):
        """The objects of a kind that say that they are the tenant's."""
        return [one for one in self.objects(kind) if one["metadata"].get("tenant_id") == str(tenant.id)]


@pytest.fixture(scope="session")
def stripe_part(tmp_path_factory):
    """A stand-in for Stripe for the whole session, which sends its webhooks nowhere."""
    with standin(tmp_path_factory.mktemp("stripe")) as part:
        yield part


@pytest.fixture
def stripe_account(stripe_part, configure, packaged_plans):
    """Billing is on, and this process's Stripe is the stand-in; its account has what earlier tests have made."""
    configure(**settings_of(stripe_part))
    return stripe_part


@pytest.fixture
def priced(stripe_account):
    """The packaged plans can be bought."""
    sync_plans()
    return stripe_account


@pytest.fixture
def account(stripe_account, clean, configure):
    """The account at Stripe, where the packaged plans can be bought, without limits or faults."""
    configure(billing_calls_per_minute=0)
    if _prices() != _SYNCED.get(stripe_account.url):
        sync_plans()
        _SYNCED[stripe_account.url] = _prices()
    found = Account(stripe_account.url)
    yield found
    found.tell("fault", clear=True)


_SYNCED = {}  # what the database's prices were after the last sync with a stand-in


def _prices():
    from models.platform.database import database

    return database.execute_sql("select * from stripe_price order by stripe_price_id").fetchall()


def work(name="billing.operation"):
    """Do the waiting jobs of this name here and now, once each, also those that are to be tried again later. Returns how many there were."""
    from workers.billing import operations, reconciliation

    actors = {
        "billing.operation": operations.run_operation,
        "billing.operation_fail": operations.fail_operation,
        "billing.reconcile": reconciliation.reconcile,
    }
    return do({name: actors[name]})


def worker(threads=1):
    """Threads that do the jobs of operations until the block ends."""
    return working(work, threads)
