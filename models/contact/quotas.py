"""How many messages may come from one network, and from one mail address."""

from models.auth.email_addresses import normalize_email
from models.platform import limits
from models.platform.client_info import ClientInfo
from models.platform.digests import lasting_hex_digest
from models.platform.limits import HOUR
from models.platform.settings import settings


def charge(email: str, client: ClientInfo) -> None:
    """Count a message, whatever becomes of it. Raises QuotaExceeded.

    The network comes first: one that has had its share cannot use up what is left to others' addresses.
    """
    limits.hit("contact_ip", settings.contact_email_ip_rate_limit_per_hour, HOUR, client.network)
    address = lasting_hex_digest("contact-quota", normalize_email(email))
    limits.hit("contact_email", settings.contact_email_email_rate_limit_per_hour, HOUR, address)
