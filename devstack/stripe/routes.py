"""THE OPERATIONS of the API, one per line: method, path, what does it, and the parameters that it takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from devstack.stripe import (
    account,
    changing,
    checkout,
    customers,
    discounts,
    ending,
    endpoints,
    invoices,
    lists,
    meters,
    payment_methods,
    payments,
    portal,
    previews,
    products,
    subscriptions,
    test_clocks,
)
from devstack.stripe.shapes import Object

_LIST = lists.FIELDS


@dataclass(frozen=True, slots=True)
class Operation:
    """`run(world, params, *ids of the path)`; an iterator that it returns is answered as a list.

    undone  what it writes is undone: it only computes
    """

    method: str
    path: str
    run: Callable[..., Object | Iterator[Object]]
    fields: frozenset[str]
    undone: bool = False


def _op(method: str, path: str, run: Callable[..., Any], fields: str = "", *, undone: bool = False) -> Operation:
    return Operation(method, f"/v1/{path}", run, frozenset([*fields.split(), "expand"]), undone)


OPERATIONS = (
    _op("GET", "account", account.retrieve),
    _op("POST", "customers", customers.create, f"{customers.FIELDS} payment_method test_clock"),
    _op("GET", "customers", customers.customers, f"email test_clock {_LIST}"),
    _op("GET", "customers/{a}", customers.retrieve),
    _op("POST", "customers/{a}", customers.update, customers.FIELDS),
    _op("DELETE", "customers/{a}", customers.delete),
    _op("GET", "customers/{a}/payment_methods", payment_methods.of_path, f"type {_LIST}"),
    _op("GET", "customers/{a}/payment_methods/{b}", payment_methods.retrieve_of),
    _op("POST", "payment_methods", payment_methods.create, "type card billing_details metadata"),
    _op("GET", "payment_methods", payment_methods.of, f"customer type {_LIST}"),
    _op("GET", "payment_methods/{a}", payment_methods.retrieve),
    _op("POST", "payment_methods/{a}", payment_methods.update, "metadata"),
    _op("POST", "payment_methods/{a}/attach", payment_methods.attach, "customer"),
    _op("POST", "payment_methods/{a}/detach", payment_methods.detach),
    _op("POST", "products", products.create_product, f"id {products.PRODUCT_FIELDS}"),
    _op("GET", "products", products.products, f"active ids {_LIST}"),
    _op("GET", "products/{a}", products.retrieve_product),
    _op("POST", "products/{a}", products.update_product, products.PRODUCT_FIELDS),
    _op("DELETE", "products/{a}", products.delete_product),
    _op("POST", "prices", products.create_price, products.PRICE_FIELDS),
    _op("GET", "prices", products.prices, f"active lookup_keys product currency type recurring {_LIST}"),
    _op("GET", "prices/{a}", products.retrieve_price),
    _op(
        "POST",
        "prices/{a}",
        products.update_price,
        "active metadata nickname lookup_key transfer_lookup_key",
    ),
    _op(
        "POST",
        "billing/meters",
        meters.create,
        "event_name display_name default_aggregation customer_mapping value_settings event_time_window",
    ),
    _op("GET", "billing/meters", meters.meters, f"status {_LIST}"),
    _op("GET", "billing/meters/{a}", meters.retrieve),
    _op("POST", "billing/meters/{a}", meters.update, "display_name"),
    _op("POST", "billing/meters/{a}/deactivate", meters.deactivate),
    _op("POST", "billing/meters/{a}/reactivate", meters.reactivate),
    _op(
        "GET",
        "billing/meters/{a}/event_summaries",
        meters.summaries,
        f"customer start_time end_time value_grouping_window {_LIST}",
    ),
    _op("POST", "billing/meter_events", meters.record, "event_name payload identifier timestamp"),
    _op("POST", "billing/meter_event_adjustments", meters.cancel_event, "event_name type cancel"),
    _op("POST", "coupons", discounts.create_coupon, discounts.COUPON_FIELDS),
    _op("GET", "coupons", discounts.coupons, _LIST),
    _op("GET", "coupons/{a}", discounts.retrieve_coupon),
    _op("POST", "coupons/{a}", discounts.update_coupon, "name metadata"),
    _op("DELETE", "coupons/{a}", discounts.delete_coupon),
    _op("POST", "promotion_codes", discounts.create_code, discounts.CODE_FIELDS),
    _op("GET", "promotion_codes", discounts.codes, f"code coupon customer active {_LIST}"),
    _op("GET", "promotion_codes/{a}", discounts.retrieve_code),
    _op("POST", "promotion_codes/{a}", discounts.update_code, "active metadata"),
    _op("POST", "subscriptions", subscriptions.create, subscriptions.CREATE_FIELDS),
    _op("GET", "subscriptions", subscriptions.subscriptions, f"customer status price test_clock {_LIST}"),
    _op("GET", "subscriptions/{a}", subscriptions.retrieve),
    _op("POST", "subscriptions/{a}", changing.update, changing.FIELDS),
    _op("DELETE", "subscriptions/{a}", ending.cancel, ending.FIELDS),
    _op("GET", "subscription_items", subscriptions.items_of, f"subscription {_LIST}"),
    _op("GET", "subscription_items/{a}", subscriptions.retrieve_item),
    _op("POST", "invoices/create_preview", previews.preview, previews.FIELDS, undone=True),
    _op("GET", "invoices", invoices.invoices, f"customer subscription status {_LIST}"),
    _op("GET", "invoices/{a}", invoices.retrieve),
    _op("POST", "invoices/{a}", invoices.update, "metadata auto_advance description"),
    _op("GET", "invoices/{a}/lines", invoices.lines_of, _LIST),
    _op("POST", "invoices/{a}/finalize", invoices.finalize_now),
    _op("POST", "invoices/{a}/pay", invoices.pay, "payment_method paid_out_of_band off_session"),
    _op("POST", "invoices/{a}/void", invoices.void_now),
    _op("POST", "invoices/{a}/mark_uncollectible", invoices.mark_uncollectible),
    _op("GET", "invoice_payments", payments.invoice_payments, f"invoice {_LIST}"),
    _op("GET", "invoice_payments/{a}", payments.retrieve_invoice_payment),
    _op("GET", "payment_intents", payments.intents, f"customer {_LIST}"),
    _op("GET", "payment_intents/{a}", payments.retrieve),
    _op("POST", "payment_intents/{a}/confirm", payments.confirm, "payment_method return_url"),
    _op("POST", "checkout/sessions", checkout.create, checkout.FIELDS),
    _op("GET", "checkout/sessions", checkout.sessions, f"customer subscription status {_LIST}"),
    _op("GET", "checkout/sessions/{a}", checkout.retrieve),
    _op("POST", "checkout/sessions/{a}/expire", checkout.expire),
    _op("GET", "checkout/sessions/{a}/line_items", checkout.line_items_of, _LIST),
    _op("POST", "billing_portal/configurations", portal.create_configuration, portal.CONFIGURATION_FIELDS),
    _op("GET", "billing_portal/configurations", portal.configurations, f"is_default active {_LIST}"),
    _op("GET", "billing_portal/configurations/{a}", portal.retrieve_configuration),
    _op("POST", "billing_portal/configurations/{a}", portal.update_configuration, portal.CONFIGURATION_FIELDS),
    _op("POST", "billing_portal/sessions", portal.create_session, portal.SESSION_FIELDS),
    _op("GET", "events", endpoints.events, f"type types {_LIST}"),
    _op("GET", "events/{a}", endpoints.retrieve_event),
    _op("POST", "webhook_endpoints", endpoints.create, endpoints.FIELDS),
    _op("GET", "webhook_endpoints", endpoints.endpoints, _LIST),
    _op("GET", "webhook_endpoints/{a}", endpoints.retrieve),
    _op("POST", "webhook_endpoints/{a}", endpoints.update, endpoints.FIELDS),
    _op("DELETE", "webhook_endpoints/{a}", endpoints.delete),
    _op("POST", "test_helpers/test_clocks", test_clocks.create, "frozen_time name"),
    _op("GET", "test_helpers/test_clocks", test_clocks.clocks, _LIST),
    _op("GET", "test_helpers/test_clocks/{a}", test_clocks.retrieve),
    _op("POST", "test_helpers/test_clocks/{a}/advance", test_clocks.advance, "frozen_time"),
    _op("DELETE", "test_helpers/test_clocks/{a}", test_clocks.delete),
)
