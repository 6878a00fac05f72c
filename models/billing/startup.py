"""What a process with billing says of it when it starts."""

import logging

from pydantic import SecretStr

from models.billing.plan_file import plan_file
from models.platform.settings import Settings

log = logging.getLogger(__name__)
SHORTEST = 12  # characters of a secret of which a part is shown


def announce(settings: Settings) -> None:
    """Log one line with masked secrets, and a warning if the key is not meant for this kind of installation.

    Nothing without ENABLE_BILLING. SystemExit for a plan file that cannot be used.
    """
    if not settings.enable_billing:
        return
    codes = sorted(plan_file().plans)
    fields = {
        "stripe_key": _masked(settings.stripe_secret_key),
        "webhook_signing": _masked(settings.stripe_webhook_secret),
        "plans": codes,
        "plan_count": len(codes),
        "stream": "redis" if settings.enable_billing_stream else "off",
    }
    log.info("billing.on", extra=fields)
    kind = key_mode(settings.stripe_secret_key)
    if kind == "live" and not settings.hardened:
        log.warning("billing.live_key_in_development", extra={"stripe_key": fields["stripe_key"]})
    if kind == "test" and settings.hardened:
        log.warning("billing.test_key_in_production", extra={"stripe_key": fields["stripe_key"]})


def _masked(secret: SecretStr | None) -> str | None:
    if secret is None:
        return None
    return ", ".join(_mask(text) for text in Settings.items(secret.get_secret_value()))


def _mask(text: str) -> str:
    return f"{text[:2]}...{text[-4:]}" if len(text) >= SHORTEST else "..."


def key_mode(key: SecretStr | None) -> str | None:
    """`live` or `test`: sk_live_..., or rk_ for a restricted key."""
    parts = key.get_secret_value().strip().split("_") if key else []
    return parts[1] if len(parts) > 2 and parts[1] in ("live", "test") else None
