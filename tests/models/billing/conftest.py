import pytest


@pytest.fixture
def limited(tenant, configure):
    """limited(feature, soft=, hard=) sets a limit of the tenant's own plan, `small`; guardrails are on."""
    from models.billing import usage_limits
    from models.platform.database import database, transaction

    configure(enable_usage_guardrails=True)
    database.execute_sql("insert into plan (code, name) values ('small', 'Small') on conflict do nothing")
    database.execute_sql("update tenant set plan_code = 'small' where id = %s", (tenant.id,))

    def limit(feature, *, soft=None, hard=None):
        with transaction():
            usage_limits.set_limit("small", feature, soft=soft, hard=hard)

    yield limit
    database.execute_sql("delete from subscription where plan_code = 'small'")
    database.execute_sql("update tenant set plan_code = null where plan_code = 'small'")
    database.execute_sql("delete from plan where code = 'small'")
