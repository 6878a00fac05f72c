"""Subscribing: asking for it, and confirming it. There is one row for each channel, target and tenant.

Whoever may not see a tenant's subscriptions never learns whether there is one: the answer, and what it costs, is the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.platform import audit
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.digests import lasting_hex_digest
from models.platform.errors import Conflict, DomainError, NotFound
from models.platform.locks import lock
from models.platform.principal import Principal
from models.platform.settings import settings
from models.status import metrics, signing, tokens
from models.status.subscriptions import (
    ACTIVE,
    EMAIL,
    MAJOR,
    PENDING,
    PUBLIC_CREATOR,
    REVOKED,
    TARGET,
    WEBHOOK,
    StatusSubscription,
    is_target,
    stored,
)
from models.status.targets import Target

CHALLENGE_MINUTES = 10  # in which a receiver answers
MOST_WEBHOOKS = 100  # of a tenant


class SubscriptionExists(Conflict):
    code, message = "subscription_exists", "An active subscription already exists for this target."


class TooManyWebhooks(Conflict):
    code, message = "too_many_subscriptions", f"A tenant has at most {MOST_WEBHOOKS} webhook subscriptions."


class TokenInvalid(NotFound):
    code, message = "token_invalid", "Token invalid."


class ChallengeInvalid(NotFound):
    code, message = "challenge_invalid", "Challenge invalid."


class TokenExpired(DomainError):
    status, code, message = 410, "token_expired", "Token expired."


class SubscriptionRevoked(DomainError):
    status, code, message = 410, "subscription_revoked", "Subscription revoked."


class AlreadyConfirmed(Conflict):
    code, message = "already_confirmed", "The subscription is active: there is nothing to confirm."


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asks for. `components`: keys of services; none means all."""

    target: Target
    severity_filter: str = MAJOR
    components: Sequence[str] = ()
    metadata: dict[str, Any] = field(default_factory=dict)


@in_transaction
def ask_by_mail(wish: Wish, tenant_id: UUID | None, creator: str) -> tuple[StatusSubscription, StatusSubscription]:
    """What the caller is shown, and the row that is confirmed by the next mail. Of a new one both are the same.

    A row that exists is not changed: only who has the mail can do that.
    """
    _lock(wish.target)
    shown = _new(wish, tenant_id, creator)
    existing = _existing(wish.target, tenant_id)
    if existing is None:
        _insert(shown)
        return shown, shown
    _update(existing, token_expires_at=shown.token_expires_at)  # not purged before; and a write, as for a new one
    return shown, existing


@in_transaction
def add_mail(wish: Wish, principal: Principal, client: ClientInfo) -> tuple[StatusSubscription, StatusSubscription]:
    """Like `ask_by_mail`, by somebody who may see the tenant's subscriptions. SubscriptionExists."""
    _lock(wish.target)
    existing = _existing(wish.target, principal.tenant_id)
    if existing is not None and existing.status != PENDING:
        raise SubscriptionExists(details={"id": str(existing.id)})
    if existing is None:
        existing = _insert(_new(wish, principal.tenant_id, creator_of(principal)))
    else:
        _update(existing, **_wishes(wish), token_expires_at=_mail_expiry())
    _record("created", principal, existing, client)
    return existing, existing


@in_transaction
def add_webhook(wish: Wish, principal: Principal, client: ClientInfo) -> tuple[StatusSubscription, str]:
    """The row, which a challenge has to confirm, and its secret, which is shown this once. Of one that is not active, both
    are made anew. SubscriptionExists, TooManyWebhooks."""
    lock("status-webhooks", principal.tenant_id)  # of a crowd no more get in than there may be
    _lock(wish.target)
    existing = _existing(wish.target, principal.tenant_id)
    if existing is not None and existing.status == ACTIVE:
        raise SubscriptionExists(details={"id": str(existing.id)})
    secret = signing.new_secret()
    columns = {**_wishes(wish), "status": PENDING, "token_expires_at": now() + timedelta(minutes=CHALLENGE_MINUTES)}
    if existing is None:
        _require_room(principal.tenant_id)
        existing = _insert(_new(wish, principal.tenant_id, creator_of(principal), **signing.columns(secret), **columns))
    else:
        _update(existing, **columns, **signing.columns(secret), failures=0, failing_since=None, error=None)
    _record("created", principal, existing, client)
    return existing, secret


@in_transaction
def confirm(token: str) -> StatusSubscription:
    """Activate the subscription that the mail was about, as it was asked for. Repeated calls are fine.

    TokenInvalid, TokenExpired, SubscriptionRevoked.
    """
    opened, row = _opened(tokens.CONFIRM, EMAIL, token, TokenInvalid)
    if opened.expires_at > now():
        _activate(row, severity_filter=opened.severity_filter, components=opened.components)
    elif row.status != ACTIVE:
        raise TokenExpired()
    return row


@in_transaction
def new_challenge(row: StatusSubscription) -> str:
    """A challenge for a webhook, which is about to be sent."""
    expires_at = now() + timedelta(minutes=CHALLENGE_MINUTES)
    columns = {"token_expires_at": expires_at, "sent_at": now()}
    StatusSubscription.update(**columns).where(StatusSubscription.id == row.id).execute()
    return tokens.create(tokens.CHALLENGE, row.id, expires_at, row.severity_filter, row.components)


@in_transaction
def answer_challenge(token: str) -> StatusSubscription:
    """Activate the webhook that received this challenge. Repeated calls are fine.

    ChallengeInvalid, TokenExpired, SubscriptionRevoked.
    """
    opened, row = _opened(tokens.CHALLENGE, WEBHOOK, token, ChallengeInvalid)
    if opened.expires_at > now() and row.status != ACTIVE:
        _activate(row)
    elif row.status != ACTIVE:
        raise TokenExpired("Challenge expired.")
    return row


@in_transaction
def change(
    principal: Principal, row: StatusSubscription, wishes: dict[str, Any], client: ClientInfo
) -> StatusSubscription:
    """Set some of `severity_filter`, `components` and `metadata`. SubscriptionRevoked."""
    locked = StatusSubscription.lock(row.id)
    if locked is None or locked.is_over:
        raise SubscriptionRevoked()
    if any(getattr(locked, name) != value for name, value in wishes.items()):
        _update(locked, **wishes)
        _record("changed", principal, locked, client)
    return locked


def require_unconfirmed(row: StatusSubscription) -> None:
    """AlreadyConfirmed, SubscriptionRevoked."""
    if row.is_over:
        raise SubscriptionRevoked()
    if row.status == ACTIVE:
        raise AlreadyConfirmed()


def creator_of(principal: Principal | None) -> str:
    """Who has made a subscription, as answers show it."""
    if principal is None:
        return PUBLIC_CREATOR
    return str(principal.user_id) if principal.user_id else principal.subject


def _mail_expiry() -> datetime:
    return now() + timedelta(minutes=settings.status_subscription_token_ttl_minutes)


def _opened(
    purpose: str, channel: str, token: str, invalid: type[DomainError]
) -> tuple[tokens.Opened, StatusSubscription]:
    try:
        opened = tokens.read(purpose, token)
    except tokens.NotOurs:
        raise invalid() from None
    row = StatusSubscription.lock(opened.subscription_id)
    if row is None or row.channel != channel:
        raise TokenExpired() if opened.expires_at <= now() else invalid()
    if row.status == REVOKED:
        raise SubscriptionRevoked()
    return opened, row


def _activate(row: StatusSubscription, **wishes: Any) -> None:
    if row.status != ACTIVE:
        database.after_commit(lambda: metrics.happened(row.channel, "confirmed", row.id))
        wishes |= {"status": ACTIVE, "verified_at": now(), "failures": 0, "failing_since": None, "error": None}
    if any(getattr(row, name) != value for name, value in wishes.items()):
        _update(row, **wishes)


def _lock(target: Target) -> None:
    """Of a crowd that asks for the same target at once, one makes the row."""
    lock("status-target", lasting_hex_digest(TARGET, f"{target.channel}:{target.text}"))


def _existing(target: Target, tenant_id: UUID | None) -> StatusSubscription | None:
    same_tenant = (
        StatusSubscription.tenant_id.is_null() if tenant_id is None else StatusSubscription.tenant_id == tenant_id
    )
    is_it = is_target(target.channel, target.text) & same_tenant & (StatusSubscription.status != REVOKED)
    found: StatusSubscription | None = StatusSubscription.select().where(is_it).for_update().get_or_none()
    return found


def _new(wish: Wish, tenant_id: UUID | None, creator: str, **columns: Any) -> StatusSubscription:
    """A row that is not saved yet: what a caller is shown looks the same whether it will be or not."""
    created, target = now(), wish.target
    values = {
        "created_at": created,
        "updated_at": created,
        "tenant_id": tenant_id,
        "channel": target.channel,
        "target_masked": target.masked,
        "host": target.host,
        "creator": creator,
        "token_expires_at": _mail_expiry(),
        **stored(target.channel, target.text),
        **_wishes(wish),
    }
    return StatusSubscription(**{**values, **columns})


def _wishes(wish: Wish) -> dict[str, Any]:
    return {
        "severity_filter": wish.severity_filter,
        "components": list(wish.components),
        "metadata": wish.metadata,
    }


def _insert(row: StatusSubscription) -> StatusSubscription:
    row.save(force_insert=True)
    database.after_commit(lambda: metrics.happened(row.channel, "created", row.id))
    return row


def _update(row: StatusSubscription, **columns: Any) -> None:
    columns["updated_at"] = now()
    StatusSubscription.update(**columns).where(StatusSubscription.id == row.id).execute()
    for name, value in columns.items():
        setattr(row, name, value)


def _require_room(tenant_id: UUID | None) -> None:
    is_one = (StatusSubscription.tenant_id == tenant_id) & (StatusSubscription.channel == WEBHOOK)
    if StatusSubscription.select().where(is_one & (StatusSubscription.status != REVOKED)).count() >= MOST_WEBHOOKS:
        raise TooManyWebhooks()


def _record(what: str, principal: Principal, row: StatusSubscription, client: ClientInfo) -> None:
    audit.record(
        f"status_subscription.{what}",
        principal,
        f"status_subscription:{row.id}",
        tenant_id=row.tenant_id,
        client=client,
        channel=row.channel,
        target=row.target_masked,
    )
