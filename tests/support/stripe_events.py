"""Events of a tenant's billing, as the inbox leaves them."""

from models.platform.clock import now
from models.platform.ids import uuid7
from tests.support import stripe_objects


def receive(tenant, event_type="customer.subscription.updated", thing=None, **columns):
    """A stored event of Stripe that nobody has processed yet."""
    from models.billing.events import InboxEvent

    event_id = f"evt_{uuid7().hex}"
    payload = stripe_objects.event(event_type, thing or stripe_objects.subscription(), event_id)
    known = {"source": "stripe", "external_id": event_id, "type": event_type, "occurred_at": now(), "payload": payload}
    return InboxEvent.create(tenant_id=tenant and tenant.id, **(known | columns))


def process(row):
    """Process an event as the inbox does: number it, keep its form, and publish after the commit. Returns its number."""
    from models.billing import events, stripe_prices
    from models.billing.normal_form import normal_form
    from models.platform.database import database, transaction

    with transaction():
        form = normal_form(row.tenant_id, row.payload, stripe_prices.known_prices())
        position = events.number(row.tenant_id)
        columns = {"state": "processed", "due_at": None, "processed_at": now(), "position": position, "event": form}
        events.InboxEvent.update(**columns).where(events.InboxEvent.id == row.id).execute()
        database.after_commit(lambda: events.publish(row.tenant_id, [(position, form)]))
    return position


def record(tenant, event_type="longshore.test", **more):
    """An act of ours, committed. Returns its number."""
    from models.billing import events
    from models.platform.database import transaction

    with transaction():
        return events.record(tenant.id, event_type, **more)


def unhandled(tenant_id):
    """An event of a type that changes nothing, about something of this tenant, as Stripe sends it now."""
    thing = {"id": "txi_1", "object": "tax_id", "metadata": {"tenant_id": str(tenant_id)}}
    event = stripe_objects.event("customer.tax_id.created", thing, f"evt_{uuid7().hex}", int(now().timestamp()))
    return event | {"livemode": False}
