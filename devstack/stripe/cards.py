"""Stripe's test cards, and what happens when they are charged."""

from dataclasses import dataclass

from devstack.stripe.errors import ApiError, declined
from devstack.stripe.shapes import Object

_MESSAGES = {
    "authentication_required": "Your card was declined. This transaction requires authentication.",
    "card_declined": "Your card was declined.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "insufficient_funds": "Your card has insufficient funds.",
}


@dataclass(frozen=True, slots=True)
class Card:
    """A test card.

    refuses      the error code of its charges, and its decline code; None for a good card
    attaches     whether it can be attached to a customer
    starts       whether its first charge of a subscription succeeds although it refuses later ones
    """

    last4: str
    brand: str = "visa"
    refuses: str | None = None
    decline: str | None = None
    attaches: bool = True
    starts: bool = False


def _bad(last4: str, code: str, decline: str | None, attaches: bool = False) -> Card:
    return Card(last4, refuses=code, decline=decline, attaches=attaches)


# By the name after `pm_card_` and `tok_`.
CARDS = {
    "visa": Card("4242"),
    "visa_debit": Card("5556"),
    "mastercard": Card("4444", "mastercard"),
    "mastercard_debit": Card("3222", "mastercard"),
    "amex": Card("8431", "amex"),
    "discover": Card("1117", "discover"),
    "chargeDeclined": _bad("0002", "card_declined", "generic_decline"),
    "chargeDeclinedInsufficientFunds": _bad("9995", "card_declined", "insufficient_funds"),
    "chargeDeclinedLostCard": _bad("9987", "card_declined", "lost_card"),
    "chargeDeclinedStolenCard": _bad("9979", "card_declined", "stolen_card"),
    "chargeDeclinedExpiredCard": _bad("0069", "expired_card", None),
    "chargeDeclinedIncorrectCvc": _bad("0127", "incorrect_cvc", None),
    "chargeDeclinedProcessingError": _bad("0119", "processing_error", None),
    "chargeCustomerFail": _bad("0341", "card_declined", "generic_decline", attaches=True),
    "authenticationRequired": _bad("3184", "authentication_required", "authentication_required", attaches=True),
    # the stand-in's own: Stripe has no card that pays the first invoice only
    "renewalDeclined": Card("9001", refuses="card_declined", decline="generic_decline", starts=True),
}
_PREFIXES = ("pm_card_", "tok_")


def named(name: str) -> str | None:
    """The key in CARDS of a test id such as pm_card_visa, tok_visa_chargeDeclined or 4242424242424242."""
    plain = name.replace(" ", "")
    if plain.isdecimal():
        return next((key for key, card in CARDS.items() if plain.endswith(card.last4)), None)
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            key = name.removeprefix(prefix)
            return next((found for found in (key, key.removeprefix("visa_")) if found in CARDS), None)
    return None


def error(code: str, decline: str | None, more: Object | None = None) -> ApiError:
    """The 402 of a refused card."""
    message = _MESSAGES.get(decline or "") or _MESSAGES.get(code, _MESSAGES["card_declined"])
    return declined(code, decline, message, more)


def refusal(method: Object, customer: Object, first: bool, confirmed: bool = False) -> tuple[str, str | None] | None:
    """(code, decline code) if charging this payment method of a customer fails, None if it succeeds.

    first      whether it is the first charge of a subscription
    confirmed  whether the customer has just confirmed the payment
    """
    if customer.get("_declines"):
        return "card_declined", "generic_decline"
    card = CARDS[method["_card"]]
    good = card.refuses is None or (first and card.starts)
    if good or (confirmed and card.refuses == "authentication_required"):
        return None
    return str(card.refuses), card.decline
