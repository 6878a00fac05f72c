"""Stripe's ids of what the plans sell. `python -m workers.billing plans sync` writes them.

A price at Stripe never changes, so a plan that costs something else gets a new one. The former ones stay known: subscriptions
may be on them.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from models.billing.normal_form import Prices
from models.platform.database import database, in_transaction

SEATS = ""  # the feature of a plan's own price
KNOWN = "select stripe_price_id, plan_code, feature from stripe_price"
CURRENT = """
select feature, stripe_price_id from stripe_price where plan_code = %(plan_code)s and is_current order by feature"""
RETIRE = "update stripe_price set is_current = false where is_current and not stripe_price_id = any(%(ids)s)"
RETIRE_PLANS = "update stripe_price set is_current = false where is_current and plan_code = any(%(codes)s)"
SET = """
insert into stripe_price (plan_code, feature, stripe_product_id, stripe_price_id)
values (%(plan_code)s, %(feature)s, %(product_id)s, %(price_id)s)
on conflict (stripe_price_id) do update set is_current = true"""
SET_METER = """
insert into stripe_meter (feature, event_name, stripe_meter_id) values (%(feature)s, %(event_name)s, %(meter_id)s)
on conflict (feature) do update set event_name = excluded.event_name, stripe_meter_id = excluded.stripe_meter_id"""
REMOVE_METERS = "delete from stripe_meter where not feature = any(%(features)s)"


class Price(NamedTuple):
    """`feature`: what is metered, or SEATS."""

    plan_code: str
    feature: str
    product_id: str
    price_id: str


class Meter(NamedTuple):
    """`event_name`: under which usage of the feature is reported to Stripe."""

    feature: str
    event_name: str
    meter_id: str


def current(plan_code: str) -> dict[str, str]:
    """The ids of the prices that new subscriptions of the plan get, by feature; that of the seats is the first."""
    return dict(database.execute_prepared(CURRENT, {"plan_code": plan_code}).fetchall())


def known_prices() -> Prices:
    """Our table of Stripe's prices: id -> (plan code, feature). It has a few rows."""
    rows = database.execute_prepared(KNOWN, {}).fetchall()
    return {price: (plan, feature) for price, plan, feature in rows}


@in_transaction
def retire(plan_codes: Collection[str]) -> None:
    """Nothing of these plans can be bought until the next sync."""
    database.execute_sql(RETIRE_PLANS, {"codes": list(plan_codes)})


@in_transaction
def replace(prices: Iterable[Price], meters: Iterable[Meter]) -> None:
    """These are the current prices and the meters from now on."""
    prices, meters = list(prices), list(meters)
    database.execute_sql(RETIRE, {"ids": [price.price_id for price in prices]})
    for price in prices:
        database.execute_sql(SET, price._asdict())
    database.execute_sql(REMOVE_METERS, {"features": [meter.feature for meter in meters]})
    for meter in meters:
        database.execute_sql(SET_METER, meter._asdict())
