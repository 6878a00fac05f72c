"""The end of subscriptions: revoked by a manager, by their owner, or by a receiver that is gone; disabled; and purged.

A revoked row keeps nothing of its target but what lists show of it.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.platform import audit
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import NotFound
from models.platform.principal import Principal, Root
from models.status import metrics, tokens
from models.status.subscriptions import ACTIVE, DISABLED, PENDING, REVOKED, WEBHOOK, StatusSubscription

ERASED: dict[str, Any] = {
    "target_hash": "",
    "target_encrypted": None,
    "metadata": {},
    "secret": None,
    "secret_before": None,
    "token_expires_at": None,
    "failures": 0,
    "failing_since": None,
}
BY_OWNER, GONE = "user_unsubscribe", "gone"  # reasons
MOST_FAILURES = 20  # deliveries given up in a row; then a webhook is disabled ...
FAILING_DAYS, LEAST_FAILURES = 3, 3  # ... or after so many days, if so many have failed in them
PENDING_DAYS, REVOKED_DAYS = (
    1,
    90,
)  # after which rows are deleted: since nothing can confirm them, since they were revoked
ERROR_LENGTH, REASON_LENGTH = 500, 128


class UnsubscribeTokenInvalid(NotFound):
    code, message = "token_invalid", "Unsubscribe token invalid."


@in_transaction
def revoke(by: Principal | Root, row: StatusSubscription, client: ClientInfo = UNKNOWN_CLIENT) -> None:
    """By somebody who may. Repeated calls change nothing."""
    name = by if isinstance(by, Root) else by.user_id or by.account
    if _end(row.id, f"revoked-by:{name}"[:REASON_LENGTH]):
        audit.record(
            "status_subscription.revoked",
            by,
            f"status_subscription:{row.id}",
            tenant_id=row.tenant_id,
            client=client,
            channel=row.channel,
            target=row.target_masked,
        )


@in_transaction
def revoke_by_token(subscription_id: UUID, token: str) -> None:
    """By who has one of its mails. Repeated calls are fine, and so is one about a row that was purged.

    UnsubscribeTokenInvalid, also for an id that does not exist.
    """
    if not tokens.may_unsubscribe(subscription_id, token):
        raise UnsubscribeTokenInvalid()
    _end(subscription_id, BY_OWNER)


@in_transaction
def gone(subscription_id: UUID) -> None:
    """The receiver wants no more: it has answered 410."""
    _end(subscription_id, GONE)


@in_transaction
def delivered(subscription_ids: Collection[UUID]) -> None:
    """Their deliveries have arrived: former failures do not count any more."""
    had_failures = StatusSubscription.id.in_(list(subscription_ids)) & (StatusSubscription.failures > 0)
    StatusSubscription.update(failures=0, failing_since=None, error=None).where(had_failures).execute()


@in_transaction
def checked(subscription_id: UUID, error: str | None) -> None:
    """A challenge or a test of a webhook has ended. `error`: why it did not arrive, None if it did."""
    is_open = (StatusSubscription.id == subscription_id) & (StatusSubscription.status != REVOKED)
    StatusSubscription.update(checked_at=now(), error=error and error[:ERROR_LENGTH]).where(is_open).execute()


@in_transaction
def given_up(errors: Mapping[UUID, str]) -> list[UUID]:
    """Deliveries to these webhooks have failed for good, and why. Returns those that are disabled by it: tell their makers."""
    disabled = []
    for subscription_id, error in sorted(errors.items()):
        row = StatusSubscription.lock(subscription_id)
        if row is None or row.channel != WEBHOOK or row.status != ACTIVE:
            continue
        failures, since = row.failures + 1, row.failing_since or now()
        is_dead = _is_dead(failures, since)
        StatusSubscription.update(
            failures=failures,
            failing_since=since,
            error=error[:ERROR_LENGTH],
            checked_at=now(),
            updated_at=now(),
            status=DISABLED if is_dead else ACTIVE,
        ).where(StatusSubscription.id == row.id).execute()
        if is_dead:
            _record_disabled(row, failures)
            disabled.append(row.id)
    return disabled


@in_transaction
def purge() -> int:
    """Delete what was never confirmed, and what was revoked long ago. Returns how many rows."""
    unconfirmed = _delete(
        (StatusSubscription.status == PENDING)
        & (StatusSubscription.token_expires_at < now() - timedelta(days=PENDING_DAYS))
    )
    database.after_commit(lambda: metrics.purged(unconfirmed))
    is_old = StatusSubscription.revoked_at < now() - timedelta(days=REVOKED_DAYS)
    return len(unconfirmed) + len(_delete((StatusSubscription.status == REVOKED) & is_old))


def _end(subscription_id: UUID, reason: str) -> bool:
    """Whether it had not ended before."""
    is_open = (StatusSubscription.id == subscription_id) & (StatusSubscription.status != REVOKED)
    columns = {**ERASED, "status": REVOKED, "revoked_at": now(), "revoked_reason": reason, "updated_at": now()}
    rows = list(StatusSubscription.update(**columns).where(is_open).returning(StatusSubscription.channel).tuples())
    if rows:
        database.after_commit(lambda: metrics.happened(rows[0][0], "revoked", subscription_id))
    return bool(rows)


def _is_dead(failures: int, since: datetime) -> bool:
    long_enough = now() - since >= timedelta(days=FAILING_DAYS) and failures >= LEAST_FAILURES
    return failures >= MOST_FAILURES or long_enough


def _record_disabled(row: StatusSubscription, failures: int) -> None:
    audit.record(
        "status_subscription.disabled",
        "worker",
        f"status_subscription:{row.id}",
        tenant_id=row.tenant_id,
        target=row.target_masked,
        failures=failures,
    )
    database.after_commit(lambda: metrics.happened(WEBHOOK, "disabled", row.id))


def _delete(condition: Any) -> list[str]:
    """The channels of the deleted rows."""
    return [
        channel
        for (channel,) in StatusSubscription.delete().where(condition).returning(StatusSubscription.channel).tuples()
    ]
