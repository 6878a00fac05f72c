"""A Stripe for tests of workers."""

import pytest

from tests.support.stripe import settings_of, standin, sync_plans


@pytest.fixture(scope="session")
def stripe_part(tmp_path_factory):
    """A stand-in for Stripe for the whole session, which sends its webhooks nowhere."""
    with standin(tmp_path_factory.mktemp("stripe")) as part:
        yield part


@pytest.fixture
def stripe(stripe_part, configure, packaged_plans):
    """Billing is on, and this process's Stripe is the stand-in; its account has what earlier tests have made."""
    configure(**settings_of(stripe_part))
    return stripe_part


@pytest.fixture
def priced(stripe):
    """The packaged plans can be bought."""
    sync_plans()
    return stripe
