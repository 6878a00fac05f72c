import pytest

from tests.support.plans import small_plan, subscribe


@pytest.fixture
def limited(tenant, configure):
    """limited(feature, soft=, hard=) sets a limit of the tenant's own plan, `small`; guardrails are on."""
    configure(enable_usage_guardrails=True)
    with small_plan(tenant) as limit:
        yield limit


@pytest.fixture
def subscribed(tenant, limited, billing):
    """subscribed(status, **columns) sets the tenant's subscription of the plan `small`; billing is on."""
    return lambda *status, **columns: subscribe(tenant, *status, **columns)
