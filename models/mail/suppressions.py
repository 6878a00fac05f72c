"""Addresses that get no mail any more: mail to them has bounced, or somebody there has complained."""

from typing import Any

from peewee import CharField

from models.platform.model import BinaryJSONField, Model

BOUNCE, COMPLAINT, OPERATOR = "bounce", "complaint", "operator"  # reasons


class MailSuppression(Model):
    """The address itself is not kept, only its keyed hash."""

    address_hash = CharField(unique=True)
    address_masked = CharField()
    reason = CharField()
    details: dict[str, Any] = BinaryJSONField(default=dict)
