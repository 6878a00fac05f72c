"""How often somebody can subscribe, and have mails or challenges sent.

The caller's network is charged first, and is told when it has had its share. What is charged to a mail address is never told,
and no network gets the whole of it: a stranger must neither find out about somebody's subscriptions nor stop them.
"""

from uuid import UUID

from models.platform import limits
from models.platform.client_info import ClientInfo
from models.platform.digests import lasting_hex_digest
from models.platform.limits import DAY, HOUR
from models.platform.settings import settings
from models.status.subscriptions import EMAIL, StatusSubscription
from models.status.targets import Target

TESTS_PER_HOUR, REDELIVERIES_PER_HOUR = 20, 60  # of a webhook, of a subscription


def charge_network(channel: str, client: ClientInfo) -> None:
    """QuotaExceeded."""
    limits.hit(f"status_subscribe_{channel}_ip", _per_hour(channel), HOUR, client.network)


def charge_url(target: Target) -> None:
    """Challenges to one URL, by whichever tenants. QuotaExceeded."""
    limits.hit("status_subscribe_webhook_target", _per_hour(target.channel), HOUR, _digest(target))


def may_mail(target: Target, client: ClientInfo) -> bool:
    """Whether one more mail about subscribing may be sent to this address."""
    limit, digest = _per_hour(EMAIL), _digest(target)
    return limits.within("status_subscribe_share", (limit + 1) // 2, HOUR, digest, client.network) and limits.within(
        "status_subscribe_email", limit, HOUR, digest
    )


def may_tell_again(subscription_id: UUID) -> bool:
    """Whether an address that is subscribed may be told so, as somebody has asked for it again: once a day."""
    return limits.within("status_subscribed_already", 1, DAY, subscription_id)


def charge_resend(row: StatusSubscription) -> None:
    """QuotaExceeded."""
    limits.hit("status_subscription_resend", _per_hour(row.channel), HOUR, row.id)


def charge_test(row: StatusSubscription) -> None:
    """QuotaExceeded."""
    limits.hit("status_subscription_test", TESTS_PER_HOUR, HOUR, row.id)


def charge_redelivery(row: StatusSubscription) -> None:
    """QuotaExceeded."""
    limits.hit("status_redelivery", REDELIVERIES_PER_HOUR, HOUR, row.id)


def _per_hour(channel: str) -> int:
    if channel == EMAIL:
        return settings.status_subscription_email_rate_limit_per_hour
    return settings.status_subscription_ip_rate_limit_per_hour


def _digest(target: Target) -> str:
    return lasting_hex_digest("status-quota", f"{target.channel}:{target.text}")
