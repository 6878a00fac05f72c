"""Which Slack channels are told of an update."""

from uuid import UUID

from models.platform.settings import settings
from models.platform.slack_settings import default_channels, tenant_channels
from models.status.deliveries import EVERYBODY, TENANT


def channels_of(scope: str, tenant_id: UUID | None) -> list[tuple[str, UUID | None]]:
    """The channels that a fan-out of this scope tells, each once, with the tenant whose channel it is.

    That of a tenant reaches its own channels only, never the default ones.
    """
    if not settings.enable_slack_status_notifications:
        return []
    found: dict[str, UUID | None] = {} if scope == TENANT else dict.fromkeys(default_channels(settings))
    for owner, channels in tenant_channels(settings).items():
        if scope == EVERYBODY or (scope == TENANT and owner == tenant_id):
            found.update((channel, owner) for channel in channels if channel not in found)
    return list(found.items())
