"""Which tenant an object of Stripe belongs to."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from models.platform.database import database
from models.platform.ids import parse_uuid

Object: TypeAlias = Mapping[str, Any]
# What we have written on it ourselves comes first, then what we know of its subscription, then of its customer.
FIND = """
select coalesce(
    (select id from tenant where id = %(named)s),
    (select tenant_id from stripe_subscription where stripe_subscription_id = %(subscription)s),
    (select tenant_id from billing_customer where stripe_customer_id = %(customer)s))"""


class NotYet(Exception):
    """What an event needs is not there, and may come: the event waits."""

    code = "not_yet"


class TenantUnknown(NotYet):
    code = "tenant_unknown"


def tenant_of(thing: Object) -> UUID:
    """The tenant of an object. TenantUnknown if nothing says whose it is, or that tenant is gone."""
    tenant_id = find_tenant(thing)
    if tenant_id is None:
        raise TenantUnknown(f"Nothing says which tenant the {thing.get('object')} {thing.get('id')} belongs to.")
    return tenant_id


def find_tenant(thing: Object) -> UUID | None:
    """Like `tenant_of`; None if it is not known. What a customer can write, such as `client_reference_id`, says nothing."""
    kind = thing.get("object")
    values = {
        "named": hint(thing),
        "subscription": thing.get("id") if kind == "subscription" else subscription_id(thing),
        "customer": thing.get("id") if kind == "customer" else id_of(thing.get("customer")),
    }
    row = database.execute_prepared(FIND, values).fetchone()
    found: UUID | None = row[0]
    return found


def hint(thing: Object) -> UUID | None:
    """The tenant that an object of Stripe names, because we have written it there."""
    return next(filter(None, map(parse_uuid, _names(thing))), None)


def subscription_id(thing: Object) -> str | None:
    """Stripe's id of the subscription that an invoice, or another object, was made for."""
    return id_of(thing.get("subscription")) or id_of(_details(thing).get("subscription"))


def id_of(value: Any) -> str | None:
    """An id of Stripe, where the object itself may stand instead."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return str(found) if found else None


def _names(thing: Object) -> Iterator[Any]:
    for metadata in (thing.get("metadata"), _details(thing).get("metadata")):
        if isinstance(metadata, Mapping):
            yield metadata.get("tenant_id")
            yield metadata.get("tenant")


def _details(thing: Object) -> Object:
    parent = thing.get("parent")
    details = parent.get("subscription_details") if isinstance(parent, Mapping) else None
    return details if isinstance(details, Mapping) else {}
