"""Billing in tests: what it is configured with, and a Stripe of one's own."""

import contextlib

# The settings of a process with billing. The keys are those of no account.
BILLING = {"enable_billing": True, "stripe_secret_key": "sk_test_longshore", "stripe_webhook_secret": "whsec_longshore"}


@contextlib.contextmanager
def standin(folder, edge_url=""):
    """The stand-in for Stripe, with its data in this folder; its webhooks go to `edge_url`, if that is given.

    The part that is returned can be stopped, killed and started again.
    """
    from devstack.parts.stripe import Stripe

    part = Stripe(folder, edge_url)
    try:
        part.start()
        yield part
        assert "Traceback" not in (log := part.log.read_text()), log
    finally:
        part.stop()


def settings_of(part):
    """The settings of a process whose Stripe is this stand-in."""
    env = part.env()
    names = ("stripe_secret_key", "stripe_api_base", "stripe_webhook_secret")
    return {"enable_billing": True, **{name: env[name.upper()] for name in names}}


def sync_plans(file=None, *, prune=False, dry=False):
    """Bring the configured Stripe and the database in line with a plan file, the packaged one by default -> the changes."""
    from models.billing.plan_file import PACKAGED, read
    from models.platform.database import release
    from models.platform.principal import Root
    from workers.billing.plan_sync import PlanSync

    try:
        return PlanSync(file or read(PACKAGED), by=None if dry else Root("test"), prune=prune).run()
    finally:
        release()
