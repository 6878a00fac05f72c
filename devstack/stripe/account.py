"""The account itself: enough of it to check a key."""

from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.world import World


def retrieve(world: World, params: Params) -> Object:
    return {
        "id": "acct_1StandIn0000000",
        "object": "account",
        "business_type": None,
        "charges_enabled": True,
        "country": "US",
        "created": 1_700_000_000,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "owner@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "type": "standard",
    }
