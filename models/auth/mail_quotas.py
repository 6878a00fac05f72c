"""How many mails somebody can have sent to an address.

The sender's network is charged first, and is told when it has had its share. What is charged to an address is never told,
and no network gets the whole of it: a stranger must be able neither to find out about somebody's mails nor to stop them.
"""

from models.auth.email_addresses import normalize_email
from models.platform import limits
from models.platform.client_info import ClientInfo
from models.platform.digests import lasting_hex_digest
from models.platform.limits import DAY, HOUR
from models.platform.principal import Principal
from models.platform.settings import settings

LOCK_MAILS_PER_DAY = 3  # to an address: whoever locks it every hour must not fill its mailbox


def charge_reset(email: str, client: ClientInfo) -> bool:
    """Whether a mail to reset a password may be sent. Raises QuotaExceeded for the network.

    The window is as long as a link is valid: an address gets no more mails only while it has some that still work.
    """
    limits.hit("password_reset_ip", settings.password_reset_ip_rate_limit_per_hour, HOUR, client.network)
    address = _digest(email)
    limit, seconds = settings.password_reset_email_rate_limit_per_hour, 60 * settings.password_reset_token_ttl_minutes
    return limits.within("password_reset_share", (limit + 1) // 2, seconds, address, client.network) and limits.within(
        "password_reset_email", limit, seconds, address
    )


def charge_lock(email: str) -> bool:
    """Whether the owner of an address that was locked may be sent a mail about it."""
    return limits.within("account_locked_email", LOCK_MAILS_PER_DAY, DAY, _digest(email))


def charge_verification(principal: Principal, client: ClientInfo) -> None:
    """Count a mail to verify the caller's own address. Raises QuotaExceeded: only the caller can use their quota up."""
    limits.hit("email_verify_ip", settings.email_verification_ip_rate_limit_per_hour, HOUR, client.network)
    limits.hit("email_verify_user", settings.email_verification_email_rate_limit_per_hour, HOUR, principal.user_id)


def _digest(email: str) -> str:
    return lasting_hex_digest("mail-quota", normalize_email(email))
