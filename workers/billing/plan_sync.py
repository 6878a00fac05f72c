"""Brings Stripe's products, prices and meters, and the database's plans, in line with the plan file.

Repeatable: each step looks at what is there. A process that dies in between leaves what the next one completes, and the
prices that are sold here are replaced before the former ones are archived.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from models.billing import stripe_prices
from models.billing.plan_file import PlanFile
from models.billing.plan_tables import bring_in_line
from models.billing.stripe_prices import Meter, Price
from models.platform import audit
from models.platform.database import transaction
from models.platform.principal import Root
from workers.billing import plan_objects
from workers.billing.plan_objects import MARK, PREFIX, Params, Product, WantedPrice
from workers.gateways.stripe import NotThere, ProviderRejected, call, every

PLAN_SYNC = "plan_sync"  # the lock: one sync at a time
ALREADY_THERE = "resource_already_exists"
MOST_KEYS = 10  # that one list of prices takes
NOT_MADE = "(new)"  # the id of what a dry run does not make
METER = {
    "default_aggregation": {"formula": "sum"},
    "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
    "value_settings": {"event_payload_key": "value"},
}


class MeterTaken(ProviderRejected):
    """A meter at Stripe has our event's name, but counts in another way."""


class PlanSync:
    """`by`: for the audit log; None: only look. `prune`: also archive what the file does not have any more."""

    def __init__(self, file: PlanFile, *, by: Root | None, prune: bool = False) -> None:
        self.file, self.by, self.is_dry, self.prune = file, by, by is None, prune
        self.lines: list[str] = []
        self.product_ids: list[str] = []  # of those that exist at Stripe

    def run(self) -> list[str]:
        """Returns a line for each change. The caller holds the lock PLAN_SYNC. Raises ProviderError."""
        products = list(plan_objects.products(self.file))
        for product in products:
            self._product(product)
        meters = self._meters()
        wanted = list(plan_objects.prices(self.file, {meter.feature: meter.meter_id for meter in meters}))
        holders = {price["lookup_key"]: price for price in _prices_of([price.lookup_key for price in wanted])}
        prices = [self._price(price, holders.get(price.lookup_key)) for price in wanted]
        self._store(prices, meters)
        self._archive_former({price.price_id for price in prices})
        if self.prune:
            self._prune({product.id for product in products}, {meter.event_name for meter in meters})
        return self.lines

    # ------------------------------------------------------------- products

    def _product(self, product: Product) -> None:
        there = self._found_product(product.id)
        if there is None:
            self.lines.append(f"product {product.id}: new")
            if not self.is_dry:
                self._create_product(product)
                self.product_ids.append(product.id)
            return
        self.product_ids.append(product.id)
        wanted = {**product.params, "active": True, "metadata": there["metadata"] | product.params["metadata"]}
        changes = {name: value for name, value in wanted.items() if there.get(name) != value}
        self.lines += [f"product {product.id}: {name} {there.get(name)} -> {value}" for name, value in changes.items()]
        if changes and not self.is_dry:
            call("products.update", lambda stripe: stripe.v1.products.update(product.id, changes))  # type: ignore[arg-type]

    def _found_product(self, product_id: str) -> dict[str, Any] | None:
        try:
            return call("products.retrieve", lambda stripe: stripe.v1.products.retrieve(product_id))
        except NotThere:
            return None

    def _create_product(self, product: Product) -> None:
        params: Any = {"id": product.id, **product.params}
        try:
            call("products.create", lambda stripe: stripe.v1.products.create(params))
        except ProviderRejected as error:
            if error.reason != ALREADY_THERE:  # another installation's sync was faster, or a lost answer's repetition
                raise

    # ------------------------------------------------------------- meters

    def _meters(self) -> list[Meter]:
        found = list(every("billing.meters.list", lambda stripe, page: stripe.v1.billing.meters.list(page)))
        # An active meter wins over one that was taken out of use.
        by_name = {meter["event_name"]: meter for meter in sorted(found, key=lambda meter: meter["status"] == "active")}
        return [self._meter(key, by_name) for key in plan_objects.metered(self.file)]

    def _meter(self, key: str, by_name: Mapping[str, Params]) -> Meter:
        name, title = plan_objects.event_name(key), self.file.features[key].display_name
        there = by_name.get(name)
        if there is None:
            self.lines.append(f"meter {name}: new")
            return Meter(key, name, self._create_meter(name, title) if not self.is_dry else NOT_MADE)
        _require_ours(there)
        if there["status"] != "active":
            self.lines.append(f"meter {name}: back in use")
            if not self.is_dry:
                call("billing.meters.reactivate", lambda stripe: stripe.v1.billing.meters.reactivate(there["id"]))
        if there["display_name"] != title:
            self.lines.append(f"meter {name}: display_name {there['display_name']} -> {title}")
            if not self.is_dry:
                call(
                    "billing.meters.update",
                    lambda stripe: stripe.v1.billing.meters.update(there["id"], {"display_name": title}),
                )
        return Meter(key, name, there["id"])

    def _create_meter(self, name: str, title: str) -> str:
        params: Any = {"event_name": name, "display_name": title, **METER}
        key = f"plan-sync:meter:{name}"  # two syncs at once make one
        made = call(
            "billing.meters.create", lambda stripe: stripe.v1.billing.meters.create(params, {"idempotency_key": key})
        )
        return str(made["id"])

    # ------------------------------------------------------------- prices

    def _price(self, wanted: WantedPrice, holder: Params | None) -> Price:
        """The price that is sold from now on: the one that holds the lookup key, if it costs what the file says."""
        if holder is None or not holder["active"] or not wanted.is_like(holder):
            self.lines.append(f"price {wanted.lookup_key}: {'new' if holder is None else 'replaced'}")
            price_id = self._create_price(wanted, holder) if not self.is_dry else NOT_MADE
        else:
            price_id = str(holder["id"])
            self._set_metadata(wanted, holder)
        return Price(wanted.plan_code, wanted.feature, wanted.product_id, price_id)

    def _create_price(self, wanted: WantedPrice, former: Params | None) -> str:
        params: Any = {
            "product": wanted.product_id,
            "lookup_key": wanted.lookup_key,
            "transfer_lookup_key": True,
            "metadata": wanted.metadata,
            **wanted.params,
        }
        # Two syncs at once make one; a price that comes back later is another one.
        key = f"plan-sync:{wanted.lookup_key}:{wanted.digest}:{former['id'] if former else ''}"
        return str(
            call("prices.create", lambda stripe: stripe.v1.prices.create(params, {"idempotency_key": key}))["id"]
        )

    def _set_metadata(self, wanted: WantedPrice, price: Params) -> None:
        metadata = price["metadata"] | wanted.metadata
        if metadata != price["metadata"]:
            self.lines.append(f"price {wanted.lookup_key}: metadata")
            if not self.is_dry:
                change: Any = {"metadata": wanted.metadata}
                call("prices.update", lambda stripe: stripe.v1.prices.update(price["id"], change))

    def _archive_former(self, current: set[str]) -> None:
        """Former prices of what is still sold. Subscriptions that are on them stay on them."""
        for product_id in self.product_ids:
            for price in list(_active_prices(product_id)):
                if _is_ours(price) and price["id"] not in current:
                    self._archive("prices", price["id"])

    # ------------------------------------------------------------- the rest

    def _store(self, prices: list[Price], meters: list[Meter]) -> None:
        with transaction():
            self.lines += [f"plan {change}" for change in bring_in_line(self.file, by=self.by)]
            if self.by is None:
                return
            stripe_prices.replace(prices, meters)
            if self.lines:
                audit.record("plans.synced", self.by, changes=self.lines)

    def _prune(self, product_ids: set[str], event_names: set[str]) -> None:
        listed = every("products.list", lambda stripe, page: stripe.v1.products.list(page), active=True)
        for product in list(listed):
            if _is_ours(product) and product["id"] not in product_ids:
                for price in list(_active_prices(product["id"])):
                    self._archive("prices", price["id"])
                self._archive("products", product["id"])
        meters = every("billing.meters.list", lambda stripe, page: stripe.v1.billing.meters.list(page), status="active")
        for meter in list(meters):
            if meter["event_name"].startswith(PREFIX) and meter["event_name"] not in event_names:
                self._deactivate(meter)

    def _archive(self, kind: str, object_id: str) -> None:
        name = f"{kind.removesuffix('s')} {object_id}"
        if not self.is_dry:
            archived: Any = {"active": False}
            try:
                call(f"{kind}.update", lambda stripe: getattr(stripe.v1, kind).update(object_id, archived))
            except ProviderRejected as error:  # such as for a product's default price: somebody has set that at Stripe
                self.lines.append(f"{name}: stays on sale at Stripe, which says: {error}")
                return
        self.lines.append(f"{name}: archived")

    def _deactivate(self, meter: Params) -> None:
        self.lines.append(f"meter {meter['event_name']}: out of use")
        if not self.is_dry:
            call("billing.meters.deactivate", lambda stripe: stripe.v1.billing.meters.deactivate(meter["id"]))


def _prices_of(lookup_keys: list[str]) -> Iterator[Params]:
    for start in range(0, len(lookup_keys), MOST_KEYS):
        these: Any = {"lookup_keys": lookup_keys[start : start + MOST_KEYS], "expand": ["data.tiers"]}
        yield from every("prices.list", lambda stripe, page: stripe.v1.prices.list(page), **these)


def _active_prices(product_id: str) -> Iterator[Params]:
    only: Any = {"product": product_id, "active": True}
    return every("prices.list", lambda stripe, page: stripe.v1.prices.list(page), **only)


def _is_ours(thing: Params) -> bool:
    return MARK.items() <= (thing.get("metadata") or {}).items()


def _require_ours(meter: Params) -> None:
    for name, wanted in METER.items():
        if not wanted.items() <= meter[name].items():
            raise MeterTaken(f"The meter {meter['event_name']} at Stripe has another {name}: rename or deactivate it.")
