"""Calls of Stripe on behalf of an operation, and what came of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from models.billing import stripe_sync
from models.billing.operations import BillingOperation
from models.billing.stripe_order import Order
from models.platform.database import release
from workers.gateways.stripe import Answer, Call, call

A_SECOND = 1.1  # Stripe's times are whole seconds

Options: TypeAlias = Any  # the library's own type is not imported at run time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is written when the operation ends.

    `result`: what the caller gets. `subscriptions`: what Stripe now says of the tenant's. `email`: that Stripe now has.
    """

    result: Mapping[str, Any] = field(default_factory=dict)
    subscriptions: Sequence[Answer] = ()
    email: str | None = None


class Refused(Exception):
    """The operation has come to nothing, and trying again would not help. `code` is stable, and what the caller gets.

    `subscriptions`: what Stripe says of the tenant's, if that was learnt on the way.
    """

    def __init__(
        self, code: str, message: str, details: Mapping[str, Any] | None = None, subscriptions: Sequence[Answer] = ()
    ):
        super().__init__(message)
        self.code, self.message, self.details, self.subscriptions = code, message, dict(details or {}), subscriptions


def ask(name: str, function: Call) -> Answer:
    """Call Stripe without a database connection. Raises ProviderError."""
    release()
    return call(name, function)


def change(name: str, function: Call) -> Answer:
    """Call Stripe for a change of a subscription, and return the subscription as it is now.

    A repeated call is answered as the first time, and much may have happened since. An event of the same second may say
    something else, such as what the change before has made: only what is read in a later second is surely newer.
    """
    answer = ask(name, function)
    if answer.replayed:
        return subscription(answer["id"])
    if stripe_sync.is_disputed(answer, answer.at):
        release()
        time.sleep(A_SECOND)
        return subscription(answer["id"])
    return answer


def subscription(subscription_id: str) -> Answer:
    return ask("subscriptions.retrieve", lambda stripe: stripe.v1.subscriptions.retrieve(subscription_id))


def order_of(answer: Answer) -> Order:
    """How new it is what this answer says, among all that Stripe says."""
    return Order.of_answer(answer.at, answer.number.hex, replayed=answer.replayed)


def once(operation: BillingOperation, name: str) -> Options:
    """The options of a call that is made once for this operation, however often it is tried."""
    return {"idempotency_key": f"{operation.id}:{name}"}
