"""Addresses that get no mail any more: mail to them has bounced, or somebody there has complained."""

from typing import Any

from peewee import CharField, fn
from prometheus_client import Counter

from models.mail.addresses import is_single, masked
from models.platform import audit
from models.platform.authorization import Caller
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.database import in_transaction
from models.platform.digests import possible_hex_digests
from models.platform.errors import BadRequest, NotFound
from models.platform.keyset import KeysetPage
from models.platform.model import BinaryJSONField, Model

COMPLAINT, BOUNCE, OPERATOR = "complaint", "bounce", "operator"  # reasons, the stronger ones last
REASONS = (COMPLAINT, BOUNCE, OPERATOR)
PURPOSE = "mail-suppression"
SUPPRESSED = Counter("mail_suppressions_total", "Addresses that mail to was stopped for.", ["reason"])
for _reason in REASONS:
    SUPPRESSED.labels(_reason)


class SuppressionNotFound(NotFound):
    code, message = "mail_suppression_not_found", "Mail to this address is not suppressed."


class NotAnAddress(BadRequest):
    code, message = "mail_address_invalid", "This is not a mail address."


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
    row = max(found, key=lambda one: (REASONS.index(one.reason), one.address_hash == hashes[0]))
    if all(one.address_hash != hashes[0] for one in found):
        query = MailSuppression.update(address_hash=hashes[0]).where(MailSuppression.id == row.id)
        query.where(~_exists(hashes[0])).execute()
    return row


@in_transaction
def add(address: str, reason: str, **details: Any) -> tuple[MailSuppression, bool]:
    """Suppress an address -> the row, and whether anything is new. A stronger reason replaces a weaker one. NotAnAddress."""
    if not is_single(address):
        raise NotAnAddress()
    columns = {"address_masked": masked(address), "reason": reason, "details": details}
    current = possible_hex_digests(PURPOSE, _normal(address))[0]
    is_new = False
    if find(address) is None:
        is_new = MailSuppression.insert_if_new(address_hash=current, **columns) is not None
    row = MailSuppression.get(MailSuppression.address_hash == current)
    if REASONS.index(row.reason) < REASONS.index(reason):
        MailSuppression.update(**columns).where(MailSuppression.id == row.id).execute()
        row, is_new = MailSuppression.get_by_id(row.id), True
    if is_new:
        SUPPRESSED.labels(reason).inc()
    return row, is_new


@in_transaction
def add_by_hand(by: Caller, address: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> MailSuppression:
    """What an operator does. NotAnAddress."""
    row, is_new = add(address, OPERATOR)
    if is_new:
        _record("added", by, row, client)
    return row


@in_transaction
def remove(by: Caller, address: str, *, client: ClientInfo = UNKNOWN_CLIENT) -> MailSuppression:
    """Mail is sent there again. Returns the row as it was. SuppressionNotFound."""
    row = find(address)
    if row is None:
        raise SuppressionNotFound()
    hashes = possible_hex_digests(PURPOSE, _normal(address))
    MailSuppression.delete().where(MailSuppression.address_hash.in_(hashes)).execute()
    _record("removed", by, row, client)
    return row


def page(reason: str | None, limit: int, cursor: str | None) -> KeysetPage[MailSuppression]:
    """Those of a reason, or all, the newest first. InvalidCursor."""
    fields = (MailSuppression.id, MailSuppression.created_at, MailSuppression.address_masked, MailSuppression.reason)
    query = MailSuppression.select(*fields, MailSuppression.details)
    if reason is not None:
        query = query.where(MailSuppression.reason == reason)
    names = [field.name for field in fields] + ["details"]
    return KeysetPage.of(
        query,
        lambda *values: MailSuppression(**dict(zip(names, values, strict=True))),
        (MailSuppression.id,),
        limit,
        cursor,
    )


def _record(what: str, by: Caller, row: MailSuppression, client: ClientInfo) -> None:
    action, subject = f"mail_suppression.{what}", f"mail_suppression:{row.id}"
    audit.record(action, by, subject, client=client, address=row.address_masked, suppressed_for=row.reason)


def _exists(address_hash: str) -> Any:
    other = MailSuppression.alias()
    return fn.exists(other.select(other.id).where(other.address_hash == address_hash))


def _normal(address: str) -> str:
    return address.strip().lower()
