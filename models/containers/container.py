"""A container at the model provider, in which agents run code."""

from typing import Any
from uuid import UUID

from peewee import CharField, UUIDField

from models.platform.authorization import CONTAINER_READ
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

CREATING, RUNNING, EXPIRED, FAILED, DELETED = "creating", "running", "expired", "failed", "deleted"


class ContainerNotFound(NotFound):
    code, message = "container_not_found", "Container not found"


class Container(TenantModel):
    owner, reading = None, CONTAINER_READ
    updated_at = DateTimeTZField(default=now)
    creator_id = UUIDField(null=True)
    name = CharField()
    provider_id = CharField(null=True)
    memory_limit = CharField()
    status = CharField(default=CREATING)
    expires_after: dict[str, Any] | None = BinaryJSONField(null=True)
    file_ids: list[str] = BinaryJSONField(default=list)
    last_active_at = DateTimeTZField(null=True)
    metadata: dict[str, Any] = BinaryJSONField(default=dict)
    deleted_at = DateTimeTZField(null=True)

    @classmethod
    def find(cls, principal: Principal, container_id: UUID) -> "Container":
        """A live container. ContainerNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == container_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise ContainerNotFound()
        return found
