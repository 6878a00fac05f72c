"""A tenant's settings: who is told about billing, the billing webhook, and values that the tenant keeps here.

One row per tenant, which the first save creates. `version` counts the saves, so that nobody overwrites what they have not
seen. Flags are those of models/tenants/flags.py. Plan metadata is a plain map, which nothing reads.
"""

from typing import Any, NamedTuple
from uuid import UUID

from peewee import CharField, IntegerField, TextField

from models.platform import audit, public_urls
from models.platform.authorization import TENANT_SETTINGS_READ
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import BadRequest, DomainError
from models.platform.locks import lock
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.tenants.flags import checked as checked_flags

MOST_CONTACTS, LONGEST_URL = 10, 512
SAVED = ("billing_contacts", "billing_webhook_url", "plan_metadata", "flags")


class SettingsInvalid(BadRequest):
    code = "settings_invalid"


class SettingsChanged(DomainError):
    status, code = 412, "settings_changed"
    message = "Somebody has changed the settings meanwhile. Read them again, and send their ETag as If-Match."


class Contact(NamedTuple):
    name: str
    email: str
    role: str | None = None
    phone: str | None = None
    notify_billing: bool = True


class TenantSettings(TenantModel):
    """`webhook_secret` and the one before it are encrypted: models/tenants/webhook_secrets.py."""

    owner, reading = None, TENANT_SETTINGS_READ
    billing_contacts: list[dict[str, Any]] = BinaryJSONField(default=list)
    billing_webhook_url = CharField(null=True)
    plan_metadata: dict[str, str] = BinaryJSONField(default=dict)
    flags: dict[str, bool] = BinaryJSONField(default=dict)
    version = IntegerField(default=0)
    updated_at = DateTimeTZField(null=True)
    webhook_secret = TextField(null=True)
    webhook_secret_before = TextField(null=True)
    webhook_secret_changed_at = DateTimeTZField(null=True)

    @classmethod
    def of_tenant(cls, tenant_id: UUID) -> "TenantSettings":
        """The tenant's settings; the defaults, which are not stored, if nobody has saved any."""
        found: TenantSettings | None = cls.get_or_none(cls.tenant_id == tenant_id)
        return found or cls(tenant_id=tenant_id)

    @classmethod
    @in_transaction
    def locked(cls, tenant_id: UUID) -> "TenantSettings":
        """The tenant's row, which nobody else changes until the transaction ends. It is created if there is none."""
        lock("tenant_settings", tenant_id)
        return cls.insert_if_new(tenant_id=tenant_id) or cls.of_tenant(tenant_id)

    @classmethod
    @in_transaction
    def save_all(
        cls,
        principal: Principal,
        tenant_id: UUID,
        *,
        contacts: list[Contact],
        webhook_url: str | None,
        plan_metadata: dict[str, str],
        flags: dict[str, bool],
        versions: list[int] | None,
        client: ClientInfo,
    ) -> "TenantSettings":
        """Replace the settings. `versions`: what the caller may have read, None for anything.

        SettingsInvalid, FlagUnknown, SettingsChanged if the version is another one.
        """
        row = cls.locked(tenant_id)
        if versions is not None and row.version not in versions:
            raise SettingsChanged()
        values: dict[str, Any] = {
            "billing_contacts": [contact._asdict() for contact in _checked(contacts)],
            "billing_webhook_url": checked_url(webhook_url),
            "plan_metadata": {key.strip(): value.strip() for key, value in plan_metadata.items() if key.strip()},
            "flags": checked_flags(flags, row.flags),
        }
        changed = [name for name in SAVED if getattr(row, name) != values[name]]
        for name, value in (values | {"version": row.version + 1, "updated_at": now()}).items():
            setattr(row, name, value)
        row.save()
        audit.record(
            "tenant_settings.saved",
            principal,
            f"tenant:{tenant_id}",
            tenant_id=tenant_id,
            client=client,
            changed=changed,
            version=row.version,
            webhook=public_urls.masked(row.billing_webhook_url),
            contacts=len(row.billing_contacts),
        )
        return row

    def to_notify(self) -> list[str]:
        """The addresses of the contacts who want to hear about billing, each once."""
        wanted = [contact["email"] for contact in self.billing_contacts if contact["notify_billing"]]
        return list({email.lower(): email for email in wanted}.values())


def _checked(contacts: list[Contact]) -> list[Contact]:
    if len(contacts) > MOST_CONTACTS:
        raise SettingsInvalid(f"Maximum of {MOST_CONTACTS} billing contacts supported.")
    trimmed = [
        contact._replace(
            name=contact.name.strip(),
            email=contact.email.strip(),
            role=(contact.role or "").strip() or None,
            phone=(contact.phone or "").strip() or None,
        )
        for contact in contacts
    ]
    if not all(contact.name for contact in trimmed):
        raise SettingsInvalid("Billing contacts require a name.")
    if not all(contact.email for contact in trimmed):
        raise SettingsInvalid("Billing contacts require a valid email.")
    return trimmed


def checked_url(url: str | None) -> str | None:
    """The address of a webhook, if it could be public. SettingsInvalid. Where its name leads is looked at when it is used."""
    if url is None:
        return None
    if len(url) > LONGEST_URL:
        raise SettingsInvalid(f"Webhook URL must have {LONGEST_URL} characters at most.")
    try:
        public_urls.check(url)
    except public_urls.NotPublic as error:
        raise SettingsInvalid(error.reason) from None
    return url
