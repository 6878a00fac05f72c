"""The Slack channels that are told of incidents: those of SLACK_STATUS_DEFAULT_CHANNELS, and those that tenants have."""

import json
from uuid import UUID

from models.platform.ids import parse_uuid
from models.platform.settings import Settings, settings
from models.status.deliveries import EVERYBODY, TENANT


class WrongChannels(ValueError):
    """One of the two settings cannot be read. The message says which, and what is wrong with it."""


def channels_of(scope: str, tenant_id: UUID | None) -> list[tuple[str, UUID | None]]:
    """The channels that a fan-out of this scope tells, each once, with the tenant whose channel it is.

    That of a tenant reaches its own channels only, never the default ones. WrongChannels.
    """
    if not settings.enable_slack_status_notifications:
        return []
    of_tenants = tenant_channels(settings)
    found: dict[str, UUID | None] = {} if scope == TENANT else dict.fromkeys(default_channels(settings))
    for owner, channels in of_tenants.items():
        if scope == EVERYBODY or (scope == TENANT and owner == tenant_id):
            found.update((channel, owner) for channel in channels if channel not in found)
    return list(found.items())


def default_channels(values: Settings) -> list[str]:
    """A comma list, or a JSON list. WrongChannels."""
    text = values.slack_status_default_channels.strip()
    if not text.startswith("["):
        return values.items(text)
    return _channels("SLACK_STATUS_DEFAULT_CHANNELS", _json("SLACK_STATUS_DEFAULT_CHANNELS", text))


def tenant_channels(values: Settings) -> dict[UUID, list[str]]:
    """A JSON object: a tenant's id, and its channels as a list or a comma list. WrongChannels."""
    name = "SLACK_STATUS_TENANT_CHANNEL_MAP"
    found = _json(name, values.slack_status_tenant_channel_map.strip() or "{}")
    if not isinstance(found, dict):
        raise WrongChannels(f'{name} is no JSON object: write {{"<tenant id>": ["#status"]}}.')
    channels = {}
    for key, value in found.items():
        tenant_id = parse_uuid(key)
        if tenant_id is None:
            raise WrongChannels(f"{name} names the tenant {key!r}, which is no UUID.")
        channels[tenant_id] = _channels(name, values.items(value) if isinstance(value, str) else value)
    return channels


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise WrongChannels(f"{name} is no JSON.") from None


def _channels(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise WrongChannels(f"{name} has a list that is no list of channels.")
    return [item.strip() for item in value]
