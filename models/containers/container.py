"""A container at the model provider, in which agents run code.

The provider's containers expire after some idle minutes. The row stays; another one at the provider, its next generation,
can take the place of the one that is gone.
"""

from typing import Any
from uuid import UUID

from peewee import CharField, IntegerField, UUIDField

from models.platform.authorization import CONTAINER_READ
from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

CREATING, RUNNING, EXPIRED, FAILED, DELETED = "creating", "running", "expired", "failed", "deleted"


class ContainerNotFound(NotFound):
    code, message = "container_not_found", "Container not found"


class Container(TenantModel):
    """`provider_id` is null while it is `creating`. `error_code`: why it has `failed`.

    `asked_at`, `synced_at`: when the provider was last to be asked for it, and when it answered.
    """

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
    generation = IntegerField(default=1)
    error_code = CharField(null=True)
    asked_at = DateTimeTZField(null=True)
    synced_at = DateTimeTZField(null=True)

    @property
    def remote_name(self) -> str:
        """Its name at the provider, by which it is found again if the answer that told its id was lost."""
        return f"longshore-{self.id.hex}-{self.generation}"

    @classmethod
    def live(cls, container_id: UUID) -> "Container | None":
        """A container that is not deleted, for workers."""
        return cls.get_or_none((cls.id == container_id) & cls.deleted_at.is_null())

    @classmethod
    def find(cls, principal: Principal, container_id: UUID) -> "Container":
        """A live container. ContainerNotFound if there is none, or this caller may not see it."""
        found = cls.visible_to(principal).where((cls.id == container_id) & cls.deleted_at.is_null()).get_or_none()
        if found is None:
            raise ContainerNotFound()
        return found
