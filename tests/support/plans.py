"""A plan of its own for a tenant, with limits, and its subscription."""

import contextlib
from datetime import timedelta


@contextlib.contextmanager
def small_plan(tenant):
    """Gives limit(feature, soft=, hard=, **columns), which sets a limit of the tenant's plan `small`, until the end."""
    from models.platform.database import database

    database.execute_sql("insert into plan (code, name) values ('small', 'Small') on conflict do nothing")
    database.execute_sql("update tenant set plan_code = 'small' where id = %s", (tenant.id,))

    def limit(feature, *, soft=None, hard=None, is_metered=True):
        database.execute_sql(
            """insert into plan_limit (plan_code, feature, unit, soft_limit, hard_limit, is_metered)
               values ('small', %s, 'units', %s, %s, %s) on conflict (plan_code, feature) do update
               set soft_limit = excluded.soft_limit, hard_limit = excluded.hard_limit""",
            (feature, soft, hard, is_metered),
        )

    yield limit
    database.execute_sql("delete from subscription where plan_code = 'small'")
    database.execute_sql("update tenant set plan_code = null where plan_code = 'small'")
    database.execute_sql("delete from plan where code = 'small'")


def subscribe(tenant, status="active", **columns):
    """Set the tenant's subscription of the plan `small`."""
    from models.platform.clock import now
    from models.platform.database import database
    from models.platform.ids import uuid7

    values = {
        "id": uuid7(),
        "tenant_id": tenant.id,
        "plan_code": "small",
        "status": status,
        "starts_at": now(),
        "current_period_start": now() - timedelta(days=1),
        "current_period_end": now() + timedelta(days=29),
        "stripe_subscription_id": f"sub_{tenant.id.hex}",
        "updated_at": now(),
    } | columns
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    changes = ", ".join(f"{name} = excluded.{name}" for name in values if name != "id")
    database.execute_sql(
        f"insert into subscription ({names}) values ({places}) on conflict (tenant_id) do update set {changes}",
        tuple(values.values()),
    )
