"""Challenges, which confirm that a webhook wants what is sent to it, and tests of it."""

import time
from typing import Any

from models.platform.clock import iso, now
from models.platform.database import release, transaction
from models.platform.ids import parse_uuid
from models.platform.json import encode_sorted
from models.platform.settings import settings
from models.status import ending, subscribing
from models.status.signing import signing_secrets
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, WEBHOOK, NoTarget, StatusSubscription, target
from workers.gateways import webhooks
from workers.jobs import STATUS_CHALLENGE, STATUS_TEST
from workers.runtime import Lease, actor
from workers.status.messages import webhook_headers

CHALLENGE, TEST = "subscription.challenge", "subscription.test"  # types of events
GONE = 410


@actor(STATUS_CHALLENGE)
def challenge(lease: Lease) -> None:
    """Post a challenge to a webhook that is not active. It answers with a call of ours, not in its response.

    Each attempt has a challenge of its own, which lives for ten minutes: all of them can be answered.
    """
    row = _row(lease)
    if row is None or row.status not in (PENDING, DISABLED):
        return
    with transaction():
        token = subscribing.new_challenge(row)
    error = _post(lease, row, {"type": CHALLENGE, "challenge": token})
    if isinstance(error, webhooks.DeliveryFailed):
        raise error


@actor(STATUS_TEST)
def test(lease: Lease) -> None:
    """Post a message that says nothing, once."""
    row = _row(lease)
    if row is not None and row.status == ACTIVE:
        _post(lease, row, {"type": TEST})


def _row(lease: Lease) -> StatusSubscription | None:
    row_id = parse_uuid(lease.job.args["subscription_id"])
    row: StatusSubscription | None = StatusSubscription.get_or_none(StatusSubscription.id == row_id)
    return row if row is not None and row.channel == WEBHOOK else None


def _post(lease: Lease, row: StatusSubscription, values: dict[str, Any]) -> Exception | None:
    """Send it, and write down how that ended: the error, if it did not arrive."""
    body = encode_sorted({**values, "subscription_id": str(row.id), "timestamp": iso(now())})
    message = webhooks.Message(f"msg_{lease.job.id.hex}_{lease.job.epoch}", body)
    secrets, timestamp = signing_secrets(row), int(time.time())
    headers = webhook_headers(message, values["type"], secrets, timestamp)
    seconds = settings.status_subscription_webhook_timeout_seconds
    release()
    problem: Exception | None = None
    try:
        webhooks.send(target(row), message, secrets, timestamp, headers=headers, seconds=seconds)
    except (webhooks.TargetRefused, webhooks.DeliveryFailed, NoTarget) as error:
        problem = error
    with transaction():
        if isinstance(problem, webhooks.DeliveryFailed) and problem.status == GONE:
            ending.gone(row.id)
            return None
        ending.checked(row.id, None if problem is None else _reason(problem))
    return problem


def _reason(problem: Exception) -> str:
    if isinstance(problem, webhooks.DeliveryFailed) and problem.status:
        return f"{problem.reason} It answered {problem.status}."
    return str(problem)
