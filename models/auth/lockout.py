"""Failed logins: five within an hour lock the account, fifty within ten minutes slow down a network."""

import logging
from uuid import UUID

from models.auth.users import User
from models.platform import audit, limits
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import database, transaction
from models.platform.settings import settings

log = logging.getLogger(__name__)
QUOTA = "login_network"

# One statement, so that no parallel guess escapes the count. It looks up the address, so unknown ones cost the same.
COUNT_FAILURE = """
update users set failed_at = now(),
    failures = case when reached then 0 else counted end,
    locked_until = case when reached then now() + %(lock_minutes)s * interval '1 minute' else locked_until end
from (
    select id as user_id, counted, counted >= %(threshold)s and %(threshold)s > 0 as reached from (
        select id,
            case when failed_at > now() - %(window_minutes)s * interval '1 minute' then failures + 1 else 1 end as counted
        from users where lower(email) = %(email)s and coalesce(locked_until, now()) <= now() for update
    ) candidate
) failure
where id = user_id
returning id, reached"""


def refuse_throttled_network(client: ClientInfo) -> None:
    """Raises QuotaExceeded if too many logins failed from the client's address or network."""
    for network in client.networks:
        limits.check(
            QUOTA,
            settings.auth_ip_lockout_threshold,
            _window_seconds(),
            network,
            message="Too many login attempts from this network segment.",
        )


def record_failure(email: str, user: User | None, client: ClientInfo) -> UUID | None:
    """Count a failed login against the network and the account, and audit it.

    Returns the user's id if this failure locked the account. `user` is None for an unknown address.
    """
    for network in client.networks:
        limits.count(QUOTA, settings.auth_ip_lockout_threshold, _window_seconds(), network)
    with transaction():
        locked_user_id = _count_failure(email)
        action = "auth.account_locked" if locked_user_id else "auth.sign_in_failed"
        audit.record(action, "anonymous", f"user:{user.id}" if user else None, client=client)
    log.warning("auth.login_failed", extra={"client_ip": client.masked, "locked": locked_user_id is not None})
    return locked_user_id


def clear_failures(user_id: UUID) -> bool:
    """Forget the failures before a successful login. False, and nothing changes, if the account is locked."""
    not_locked = User.locked_until.is_null() | (User.locked_until <= now())
    update = User.update(failures=0, failed_at=None, locked_until=None)
    return bool(update.where((User.id == user_id) & not_locked).execute())


def _count_failure(email: str) -> UUID | None:
    values = {
        "email": email,
        "threshold": settings.auth_lockout_threshold,
        "window_minutes": settings.auth_lockout_window_minutes,
        "lock_minutes": settings.auth_lockout_duration_minutes,
    }
    counted = database.execute_sql(COUNT_FAILURE, values).fetchone()
    if counted is None:  # an unknown address, or an account that is locked already
        return None
    user_id, reached = counted
    return user_id if reached else None


def _window_seconds() -> int:
    return 60 * settings.auth_ip_lockout_window_minutes
