"""The secrets that sign what is sent to a tenant's webhook, in the form of Standard Webhooks: `whsec_` and base64.

After a rotation the former secret signs as well for a day, so that receivers can change at their time.
"""

import base64
import contextlib
import secrets
from datetime import datetime, timedelta
from uuid import UUID

from models.platform import audit, encrypted_columns
from models.platform.client_info import ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.encryption import CannotDecrypt, decrypt, encrypt
from models.platform.principal import Principal
from models.tenants.settings import TenantSettings

PREFIX, BYTES, PURPOSE = "whsec_", 32, "tenant-webhook-secret"
OVERLAP = timedelta(days=1)


@in_transaction
def rotate(principal: Principal, tenant_id: UUID, client: ClientInfo) -> tuple[str, datetime | None]:
    """A new secret, which is shown this once, and until when the former one signs too; None if there was none."""
    row = TenantSettings.locked(tenant_id)
    until = now() + OVERLAP if row.webhook_secret else None
    secret = _set(row)
    audit.record(
        "tenant_settings.webhook_secret_rotated", principal, f"tenant:{tenant_id}", tenant_id=tenant_id, client=client
    )
    return secret, until


@in_transaction
def signing(tenant_id: UUID) -> list[str]:
    """The secrets that sign now, the newest first. The first use makes one, if nobody has asked for one before. CannotDecrypt."""
    row = TenantSettings.of_tenant(tenant_id)
    if row.webhook_secret is None:
        row = TenantSettings.locked(tenant_id)
        if row.webhook_secret is None:
            return [_set(row)]
    found = [decrypt(PURPOSE, row.webhook_secret)]
    if row.webhook_secret_before and row.webhook_secret_changed_at and now() - row.webhook_secret_changed_at < OVERLAP:
        with contextlib.suppress(CannotDecrypt):  # it was lost with its key, and replaced for that
            found.append(decrypt(PURPOSE, row.webhook_secret_before))
    return found


def encrypt_again() -> int:
    """Encrypt with the current SECRET_KEY what a former one has encrypted. Returns how many secrets that were."""
    return sum(
        encrypted_columns.encrypt_again(TenantSettings, name, PURPOSE)
        for name in ("webhook_secret", "webhook_secret_before")
    )


def _set(row: TenantSettings) -> str:
    secret = PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()
    columns = {
        "webhook_secret": encrypt(PURPOSE, secret),
        "webhook_secret_before": row.webhook_secret,
        "webhook_secret_changed_at": now(),
    }
    TenantSettings.update(**columns).where(TenantSettings.id == row.id).execute()
    return secret
