"""The Slack channels that settings name: default ones, and those of tenants."""

import json
from uuid import UUID

from models.platform.ids import parse_uuid
from models.platform.settings import Settings

DEFAULT, OF_TENANTS = "SLACK_STATUS_DEFAULT_CHANNELS", "SLACK_STATUS_TENANT_CHANNEL_MAP"


class WrongChannels(ValueError):
    """One of the two settings cannot be read. The message says which, and what to write."""


def default_channels(settings: Settings) -> list[str]:
    """A comma list, or a JSON list. WrongChannels."""
    text = settings.slack_status_default_channels.strip()
    return _channels(DEFAULT, _json(DEFAULT, text) if text.startswith("[") else text)


def tenant_channels(settings: Settings) -> dict[UUID, list[str]]:
    """A JSON object: a tenant's id, and its channels as a JSON list or a comma list. WrongChannels."""
    found = _json(OF_TENANTS, settings.slack_status_tenant_channel_map.strip() or "{}")
    if not isinstance(found, dict):
        raise WrongChannels(f'{OF_TENANTS} is no JSON object: write {{"<tenant id>": ["#status"]}}.')
    channels = {}
    for key, value in found.items():
        tenant_id = parse_uuid(key.strip())
        if tenant_id is None:
            raise WrongChannels(f"{OF_TENANTS} names the tenant {key!r}: write the ids of tenants.")
        channels[tenant_id] = _channels(OF_TENANTS, value)
    return channels


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise WrongChannels(f"{name} cannot be read as JSON: write it so, or leave it out.") from None


def _channels(name: str, value: object) -> list[str]:
    if isinstance(value, str):
        return Settings.items(value)
    if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
        raise WrongChannels(f"{name} has something that is no channel: write names such as #status, or ids.")
    return [item.strip() for item in value]
