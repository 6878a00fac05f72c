"""The pages that a customer sees: checkout, an invoice, the portal. Plain HTML, without JavaScript."""

from abc import ABC, abstractmethod
from typing import Any
from urllib.parse import parse_qsl

import falcon
from jinja2 import Environment, PackageLoader

from devstack.stripe import cards, changing, checkout, ending, payment_methods, payments, periods
from devstack.stripe.errors import ApiError
from devstack.stripe.form import Params
from devstack.stripe.shapes import Object
from devstack.stripe.store import Store
from devstack.stripe.webhooks import Sender
from devstack.stripe.world import World

_LONGEST = 10_000  # of a form


def _money(amount: int | None, currency: str) -> str:
    return f"{(amount or 0) / 100:,.2f} {currency.upper()}"


_TEMPLATES = Environment(loader=PackageLoader("devstack.stripe", "templates"), autoescape=True)
_TEMPLATES.filters["money"] = _money


def _card_names(attachable: bool = False) -> list[tuple[str, str]]:
    return [
        (key, f"{card.brand} {card.last4} - {'good' if card.refuses is None else key}")
        for key, card in cards.CARDS.items()
        if card.attaches or not attachable
    ]


class Page(ABC):
    """A page about one object. Its form is answered with a redirect, or with the page and what went wrong."""

    def __init__(self, store: Store, url: str, sender: Sender) -> None:
        self.store, self.url, self.sender = store, url, sender

    @abstractmethod
    def show(self, world: World, id_: str) -> tuple[str, Object]:
        """(template, its values)"""

    @abstractmethod
    def act(self, world: World, id_: str, form: dict[str, str]) -> str:
        """Do what the form says; return where to go."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        self._render(resp, id_, None)

    def on_post(self, req: falcon.Request, resp: falcon.Response, id_: str) -> None:
        form = dict(parse_qsl(req.bounded_stream.read(_LONGEST).decode(errors="replace")))
        try:
            with self.store.transaction():
                target = self.act(World(self.store, self.url), id_, form)
        except ApiError as error:
            if error.status == 404:
                raise
            self._render(resp, id_, error.message)
            return
        finally:
            self.sender.wake()
        resp.status = 303
        resp.set_header("Location", target)

    def _render(self, resp: falcon.Response, id_: str, error: str | None) -> None:
        with self.store.transaction():
            template, values = self.show(World(self.store, self.url), id_)
        resp.content_type = falcon.MEDIA_HTML
        resp.text = _TEMPLATES.get_template(template).render(error=error, **values)


class Checkout(Page):
    def show(self, world: World, id_: str) -> tuple[str, Object]:
        session = world.get("checkout.session", id_)
        if session["status"] != "open":
            return "message.html", {"title": "Checkout", "text": f"This session is {session['status']}."}
        values = {
            "title": "Checkout",
            "session": session,
            "lines": checkout.line_items(world, session),
            "needs_card": checkout.needs_card(session),
            "card_names": _card_names(),
        }
        return "checkout.html", values

    def act(self, world: World, id_: str, form: dict[str, str]) -> str:
        session = world.get("checkout.session", id_)
        card = "pm_card_chargeDeclined" if form.get("action") == "decline" else form.get("card")
        done = checkout.complete(world, session, card, form.get("email"), form.get("code"))
        return str(done["success_url"]).replace("{CHECKOUT_SESSION_ID}", id_)


class Invoice(Page):
    def show(self, world: World, id_: str) -> tuple[str, Object]:
        invoice = world.get("invoice", id_)
        return "invoice.html", {
            "title": f"Invoice {invoice['number'] or ''}",
            "invoice": invoice,
            "card_names": _card_names(),
        }

    def act(self, world: World, id_: str, form: dict[str, str]) -> str:
        invoice = world.get("invoice", id_)
        if invoice["status"] == "open":
            customer = world.get("customer", invoice["customer"])
            method = payment_methods.attach_to(world, form.get("card", ""), customer)
            payments.charge(world, invoice, method, off_session=False, confirmed=True)
        return f"{self.url}/invoices/{id_}"


class Portal(Page):
    def show(self, world: World, id_: str) -> tuple[str, Object]:
        session = world.get("billing_portal.session", id_)
        customer = world.get("customer", session["customer"])
        found = list(world.store.find("subscription", customer=customer["id"], tags=ending.ENDABLE))
        own = found[0]["default_payment_method"] if found else None
        method = payment_methods.payer(world, customer, own)
        values = {
            "title": "Your subscription",
            "session": session,
            "subscriptions": [_summary(world, subscription) for subscription in found],
            "card": method["card"] if method else None,
            "card_names": _card_names(attachable=True),
            "invoices": [item for item in world.store.find("invoice", customer=customer["id"]) if item["number"]],
        }
        return "portal.html", values

    def act(self, world: World, id_: str, form: dict[str, str]) -> str:
        session = world.get("billing_portal.session", id_)
        customer = world.get("customer", session["customer"])
        own = list(world.store.find("subscription", customer=customer["id"], tags=ending.ENDABLE))
        if form.get("action") == "card":
            method = payment_methods.attach_to(world, form.get("card", ""), customer)["id"]
            customer["invoice_settings"]["default_payment_method"] = method
            world.save(customer, "customer.updated")
            for subscription in own:
                if subscription["default_payment_method"]:
                    changing.update(world, Params({"default_payment_method": method}), subscription["id"])
        for subscription in own:
            if subscription["id"] == form.get("subscription"):
                self._cancel(world, session, subscription["id"], undo=form.get("action") == "undo")
        return f"{self.url}/portal/{id_}"

    def _cancel(self, world: World, session: Object, id_: str, *, undo: bool) -> None:
        features = world.get("billing_portal.configuration", session["configuration"])["features"]
        if features["subscription_cancel"]["mode"] == "immediately" and not undo:
            ending.cancel(world, Params(), id_)
        else:
            changing.update(world, Params({"cancel_at_period_end": "false" if undo else "true"}), id_)


def _summary(world: World, subscription: Object) -> dict[str, Any]:
    products = [world.get("price", row["price"])["product"] for row in subscription["items"]["data"]]
    ends = subscription["cancel_at"]
    return {
        "id": subscription["id"],
        "status": subscription["status"],
        "names": [world.get("product", product)["name"] for product in products],
        "ends": periods.day(ends) if ends else None,
    }


def add_routes(app: falcon.App[Any, Any], store: Store, url: str, sender: Sender) -> None:
    app.add_route("/checkout/{id_}", Checkout(store, url, sender))
    app.add_route("/invoices/{id_}", Invoice(store, url, sender))
    app.add_route("/portal/{id_}", Portal(store, url, sender))
