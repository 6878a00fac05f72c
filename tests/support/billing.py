"""Billing in tests: the stand-in for Stripe, a worker of operations, and tenants with subscriptions."""

import contextlib
import os
import sys
import threading
import time

import httpx
import pytest

from devstack.process import Process, free_port, responds, wait_for

KEY = "sk_test_longshore"


class Standin:
    """The stand-in as a test sees it."""

    def __init__(self, url):
        self.prices = []
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


@contextlib.contextmanager
def running_standin(folder):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "gunicorn", "-k", "gevent", "--worker-connections", "1000", "--no-control-socket"]
    command += ["-b", f"127.0.0.1:{port}", "devstack.stripe.server:create_app()"]
    settings = {"STANDIN_FOLDER": str(folder), "STANDIN_URL": url, "STANDIN_KEY": KEY}
    more = {"STANDIN_WEBHOOK_URL": "", "STANDIN_WEBHOOK_SECRETS": "whsec_longshore"}
    process = Process(command, folder / "log", env={**os.environ, **settings, **more})
    try:
        wait_for(lambda: responds(f"{url}/health"), process, "the stand-in for Stripe")
        yield Standin(url)
        assert "Traceback" not in (log := process.log.read_text()), log
    finally:
        process.stop()


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """The stand-in for Stripe of this test process, with prices for our plans."""
    with running_standin(tmp_path_factory.mktemp("stripe")) as found:
        yield found


@pytest.fixture
def stripe(standin, billing, clean, configure):
    """Billing is on, and Stripe is the stand-in, which knows our plans."""
    configure(stripe_secret_key=KEY, stripe_api_base=standin.url, billing_calls_per_minute=0)
    standin.tell("fault", clear=True)
    price_plans(standin)
    return standin


def price_plans(standin):
    """Products and prices for our plans, once per stand-in."""
    from models.auth.tenants import Plan
    from models.billing import stripe_prices
    from models.platform.database import transaction
    from workers.gateways.stripe import call

    if not standin.prices:
        for plan in Plan.select():
            product = call("products.create", lambda stripe, name=plan.name: stripe.v1.products.create({"name": name}))
            included = {"flat_amount": plan.price_cents, "unit_amount": 0, "up_to": plan.seats_included}
            further = {"unit_amount": plan.extra_seat_cents, "up_to": "inf"}
            params = {
                "product": product["id"],
                "currency": "usd",
                "recurring": {"interval": "month"},
                "nickname": plan.code,
                "billing_scheme": "tiered",
                "tiers_mode": "graduated",
                "tiers": [included, further],
            }
            price = call("prices.create", lambda stripe, params=params: stripe.v1.prices.create(params))
            standin.prices.append(stripe_prices.Price(plan.code, "", product["id"], price["id"]))
    with transaction():
        stripe_prices.replace(standin.prices, [])


def work(name="billing.operation"):
    """Do the waiting jobs of this name here and now, once each, also those that are to be tried again later. Returns how many there were."""
    from models.jobs.ledger import QUEUED, Job
    from models.platform.clock import now
    from workers.billing import operations, reconciliation
    from workers.jobs import KINDS
    from workers.runtime import execute

    actors = {
        "billing.operation": operations.run_operation,
        "billing.operation_fail": operations.fail_operation,
        "billing.reconcile": reconciliation.reconcile,
    }
    waiting = (Job.name == name) & (Job.state == QUEUED)
    Job.update(due_at=now()).where(waiting & (Job.due_at > now())).execute()
    jobs = list(Job.select().where(waiting).order_by(Job.id))
    for job in jobs:
        execute(KINDS[name], actors[name], str(job.id))
    return len(jobs)


@contextlib.contextmanager
def worker(threads=1):
    """Threads that do the jobs of operations until the block ends."""
    from models.platform.database import release

    stop = threading.Event()

    def loop():
        while not stop.is_set():
            if not work():
                time.sleep(0.01)
            release()

    running = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join()
