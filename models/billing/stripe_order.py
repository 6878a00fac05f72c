"""In which order Stripe said things. Webhooks come in any order, and more than once."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

# Ranks within a second, since Stripe's times have no fractions. An answer is never older than its object's creation.
CREATED, ANSWER, UPDATED, DELETED = range(4)
LONG_AGO = datetime.fromtimestamp(0, UTC)


class Order(NamedTuple):
    """How new it is what Stripe says of an object. Compared as a row.

    Of two events of one second and rank the id decides: always in the same way, but not always rightly. Whoever applies
    one sees that (`is_tied`), and has the object read from Stripe.
    """

    as_of: datetime
    rank: int
    event_id: str

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> "Order":
        verb = str(event["type"]).rpartition(".")[2]
        rank = {"created": CREATED, "deleted": DELETED}.get(verb, UPDATED)
        return cls(time_of(event["created"]), rank, str(event["id"]))

    @classmethod
    def of_answer(cls, date: datetime, request_id: str, *, replayed: bool = False) -> "Order":
        """Of an answer of Stripe's API, by its headers Date and Request-Id.

        A replayed answer (Idempotent-Replayed: true) says what was when the key was first used. So it counts where
        nothing is known yet, and overwrites nothing.
        """
        return cls(LONG_AGO if replayed else date, ANSWER, request_id)


def time_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else time_of(seconds)
