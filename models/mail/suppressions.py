"""Addresses that get no mail any more: mail to them has bounced, or somebody there has complained."""

from typing import Any

from peewee import CharField

from models.mail.addresses import masked
from models.platform.database import in_transaction
from models.platform.digests import keyed_hex_digest, possible_hex_digests
from models.platform.model import BinaryJSONField, Model

BOUNCE, COMPLAINT, OPERATOR = "bounce", "complaint", "operator"  # reasons
PURPOSE = "mail-suppression"


class MailSuppression(Model):
    """The address itself is not kept, only its keyed hash."""

    address_hash = CharField(unique=True)
    address_masked = CharField()
    reason = CharField()
    details: dict[str, Any] = BinaryJSONField(default=dict)


def is_suppressed(address: str, *, security: bool = False) -> bool:
    """Whether a mail is not to be sent. `security`: one without which an account is lost; a complaint does not stop it."""
    row = find(address)
    return row is not None and not (security and row.reason == COMPLAINT)


def find(address: str) -> MailSuppression | None:
    """The suppression of an address. One that was hashed with a former SECRET_KEY gets the hash of the current one."""
    hashes = possible_hex_digests(PURPOSE, _normal(address))
    found = list(MailSuppression.select().where(MailSuppression.address_hash.in_(hashes)))
    if not found:
        return None
    row = min(found, key=lambda one: hashes.index(one.address_hash))
    if row.address_hash != hashes[0]:
        _renew(row, hashes[0])
    return row


@in_transaction
def add(address: str, reason: str, **details: Any) -> bool:
    """Suppress an address. False: it was already; a complaint or an operator's word then stays what it is."""
    if find(address) is not None:
        return False
    columns = {"address_masked": masked(address), "reason": reason, "details": details}
    return (
        MailSuppression.insert_if_new(address_hash=keyed_hex_digest(PURPOSE, _normal(address)), **columns) is not None
    )


@in_transaction
def remove(address: str) -> MailSuppression | None:
    """Mail is sent there again. The row as it was; None: it was not suppressed."""
    row = find(address)
    if row is not None:
        MailSuppression.delete().where(MailSuppression.id == row.id).execute()
    return row


def _renew(row: MailSuppression, fresh: str) -> None:
    other = MailSuppression.alias()
    is_there = other.select(other.id).where(other.address_hash == fresh)
    MailSuppression.update(address_hash=fresh).where((MailSuppression.id == row.id) & ~is_there.exists()).execute()


def _normal(address: str) -> str:
    return address.strip().lower()
