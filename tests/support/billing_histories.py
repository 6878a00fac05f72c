"""Histories of what Stripe says of a tenant, and the rows that they lead to."""

from hypothesis import strategies as st

from tests.support import stripe_objects
from tests.support.stripe_objects import END, START

STATUSES = ("trialing", "active", "past_due", "unpaid", "paused")
INVOICE_LIFE = ("finalized", "payment_failed", "updated", "paid")
# Columns that say when and under which id a row was written here.
ROWS = {
    "subscription": "to_jsonb(t) - 'id' - 'created_at'",
    "stripe_subscription": "to_jsonb(t)",
    "invoice": "to_jsonb(t) - 'id' - 'created_at'",
    "billing_customer": "to_jsonb(t) - 'created_at' - 'position'",
}


def rows(tenant_id, query=None):
    """All that the tenant's events have led to, as JSON. `query(sql, *values)`: asks another database than this process's."""
    query, found = query or _query, {}
    for table, columns in ROWS.items():
        lines = query(f"select {columns} from {table} t where tenant_id = %s order by 1", str(tenant_id))
        found[table] = [line[0] for line in lines]
    return {**found, "tenant": query("select plan_code, seats from tenant where id = %s", str(tenant_id))[0]}


def _query(statement, *values):
    from models.platform.database import database

    return database.execute_sql(statement, values).fetchall()


def mention(tenant_id, **more):
    return {"metadata": {"tenant_id": str(tenant_id)}} | more


@st.composite
def subscription_lives(draw, tenant_id, name):
    """The events of one subscription, in order. Some are of one second."""
    at = START + draw(st.integers(0, 50))
    begin, price = at, draw(st.sampled_from([stripe_objects.SEAT_PRICE, "price_starter"]))
    trial = draw(st.sampled_from([None, at]))
    verbs = ["created", *["updated"] * draw(st.integers(0, 4)), *["deleted"] * draw(st.integers(0, 1))]
    life = []
    for number, verb in enumerate(verbs):
        status = "canceled" if verb == "deleted" else draw(st.sampled_from(STATUSES))
        status = "incomplete" if verb == "created" and draw(st.booleans()) else status
        item = stripe_objects.item(price, draw(st.integers(1, 9)), current_period_end=END + at)
        thing = stripe_objects.subscription(item, id=name, status=status, start_date=begin, trial_start=trial)
        thing |= mention(tenant_id, cancel_at_period_end=draw(st.booleans()))
        thing["ended_at"] = at if status == "canceled" else None
        event_id = f"evt_{draw(st.integers(0, 9))}_{name}_{number}"  # ids say nothing of the order
        life.append(stripe_objects.event(f"customer.subscription.{verb}", thing, event_id, at))
        at += draw(st.sampled_from([0, 1, 60]))
    return life


@st.composite
def invoice_lives(draw, tenant_id, name):
    at, life, statuses = START + draw(st.integers(0, 50)), [], {"paid": "paid"}
    for number, verb in enumerate(INVOICE_LIFE[: draw(st.integers(1, 4))]):
        thing = stripe_objects.invoice(stripe_objects.line(), id=name, status=statuses.get(verb, "open"), created=START)
        thing |= mention(tenant_id, number=f"{verb}-{number}" if at % 2 else None)
        event_id = f"evt_{draw(st.integers(0, 9))}_{name}_{number}"
        life.append(stripe_objects.event(f"invoice.{verb}", thing, event_id, at))
        at += (
            draw(st.sampled_from([1, 60])) if verb in ("payment_failed", "finalized") else draw(st.sampled_from([0, 1]))
        )
    return life


@st.composite
def customer_lives(draw, tenant_id):
    at, life = START, []
    for number in range(draw(st.integers(0, 3))):
        thing = {"id": "cus_1", "object": "customer", "email": f"{number}@example.com"} | mention(tenant_id)
        event_id = f"evt_{draw(st.integers(0, 9))}_cus_{number}"
        life.append(stripe_objects.event("customer.updated", thing, event_id, at))
        at += draw(st.sampled_from([0, 60]))
    if draw(st.booleans()):
        thing = {"id": "cus_1", "object": "customer", "email": "last@example.com"} | mention(tenant_id)
        life.append(stripe_objects.event("customer.deleted", thing, "evt_0_cus_gone", at))
    return life


@st.composite
def histories(draw, tenant_id):
    """All events of a tenant: of some subscriptions, their invoices, and its customer."""
    found = draw(customer_lives(tenant_id))
    for number in range(draw(st.integers(1, 3))):
        found += draw(subscription_lives(tenant_id, f"sub_{number}"))
    for number in range(draw(st.integers(0, 2))):
        found += draw(invoice_lives(tenant_id, f"in_{number}"))
    return found
