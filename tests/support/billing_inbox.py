"""Events of Stripe in the inbox."""

import json

from tests.support import stripe_objects
from tests.support.stripe_objects import START


def stored(event_type, thing, event_id="evt_1", created=START, **more):
    """Store an event, as the webhook does. Returns its row; further columns of it may be given as `columns`."""
    from models.billing import inbox
    from models.billing.events import InboxEvent
    from models.platform.database import transaction

    columns = more.pop("columns", {})
    event = stripe_objects.event(event_type, thing, event_id, created) | {"livemode": False} | more
    with transaction():
        inbox.accept([inbox.Delivery.parse(json.dumps(event).encode())])
    if columns:
        InboxEvent.update(**columns).where(InboxEvent.external_id == event_id).execute()
    return InboxEvent.get(InboxEvent.external_id == event_id)


def reload(row):
    from models.billing.events import InboxEvent

    return InboxEvent.get_by_id(row.id)


def named(tenant, make=stripe_objects.subscription, **more):
    """An object of Stripe that names its tenant."""
    return make(**{"metadata": {"tenant_id": str(tenant.id)}, **more})
