"""Mails about subscriptions to the status. The alerts themselves: workers/status.

The token that confirms one is made here: neither the job ledger nor a log ever contains it.
"""

import logging
from datetime import timedelta

from models.auth.users import User
from models.platform.clock import minute_text, now
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from models.status import quotas, tokens
from models.status.services import services
from models.status.subscriptions import (
    ACTIVE,
    ALL,
    DISABLED,
    EMAIL,
    MAINTENANCE,
    MAJOR,
    REVOKED,
    NoTarget,
    StatusSubscription,
    target,
)
from workers.jobs import STATUS_CONFIRM, STATUS_DISABLED
from workers.mail.send import expiry, send
from workers.runtime import Lease, actor

log = logging.getLogger(__name__)
ALERTS = {ALL: "all incidents and maintenance", MAJOR: "major incidents", MAINTENANCE: "planned maintenance"}


@actor(STATUS_CONFIRM)
def mail_confirmation(lease: Lease) -> None:
    """Ask an address whether it wants these alerts. If it gets them already, it is told so, at most once a day."""
    row, args = _row(lease), lease.job.args
    if row is None or row.channel != EMAIL or row.status == REVOKED:
        return
    try:
        address, leave = target(row), tokens.unsubscribe_url(row)
    except NoTarget as error:
        log.warning("status.subscription_unreadable", extra={"subscription_id": str(row.id), "reason": str(error)})
        return
    wishes = {"severity_filter": args["severity_filter"], "components": args["components"]}
    alerts = describe(**wishes)
    if row.status == ACTIVE and wishes == {"severity_filter": row.severity_filter, "components": row.components}:
        if lease.job.failures or quotas.may_tell_again(row.id):
            send(lease, address, "status_subscribed_already", unsubscribe_url=leave, alerts=alerts)
        return
    minutes = settings.status_subscription_token_ttl_minutes
    token = tokens.create(tokens.CONFIRM, row.id, now() + timedelta(minutes=minutes), **wishes)
    StatusSubscription.update(sent_at=now()).where(StatusSubscription.id == row.id).execute()
    send(
        lease,
        address,
        "status_confirm",
        unsubscribe_url=leave,
        confirm_url=tokens.confirm_url(row.id, token),
        expiry=expiry(minutes),
        alerts=alerts,
        is_change=row.status == ACTIVE,
    )


@actor(STATUS_DISABLED)
def mail_disabled(lease: Lease) -> None:
    """Tell whoever has made a webhook subscription that it is disabled; nothing if it is not any more."""
    row = _row(lease)
    if row is None or row.status != DISABLED:
        return
    user = User.get_or_none(User.id == parse_uuid(row.creator))
    if user is not None:
        since = minute_text(row.failing_since or row.updated_at)
        reason, subscription_id = row.error or "-", str(row.id)
        send(
            lease,
            user.email,
            "status_disabled",
            target=row.target_masked,
            since=since,
            reason=reason,
            subscription_id=subscription_id,
        )


def describe(severity_filter: str, components: list[str]) -> str:
    """What somebody is told of, in words: major incidents (API, Chat)."""
    names = services()
    of = ", ".join(names[key].name if key in names else key for key in components)
    return f"{ALERTS[severity_filter]} ({of})" if of else ALERTS[severity_filter]


def _row(lease: Lease) -> StatusSubscription | None:
    row_id = parse_uuid(lease.job.args["subscription_id"])
    row: StatusSubscription | None = StatusSubscription.get_or_none(StatusSubscription.id == row_id)
    return row
