"""Operations: what a tenant asked of Stripe, and what came of it.

The row and its job are written with what they are about, in one transaction; a worker then asks Stripe. Changes of a
subscription come one at a time: while one is open, a second is refused. The id is the root of the idempotency keys of all
calls, so a job that runs again asks for the same, and Stripe answers with what it answered before.
"""

from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from peewee import BooleanField, CharField, TextField, fn

from models.platform import audit
from models.platform.authorization import BILLING_READ
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.ids import parse_uuid
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal

PENDING, SUCCEEDED, FAILED = "pending", "succeeded", "failed"
START, PROVISION, UPDATE, CANCEL = "start", "provision", "update", "cancel"
CHECKOUT, PORTAL, PREVIEW, CHECKOUT_PAID = "checkout", "portal", "preview", "checkout_paid"
CHANGES = (START, PROVISION, UPDATE, CANCEL)  # of the subscription: one at a time
SYSTEM = "system:billing"  # the actor of what nobody has asked for


class OperationNotFound(NotFound):
    code, message = "operation_not_found", "Operation not found."


class ChangePending(Conflict):
    code, message = "change_pending", "Another change of the subscription has not been confirmed yet."

    def __init__(self, operation: "BillingOperation | None"):
        details = {"operation_id": str(operation.id), "pending_change": operation.kind} if operation else None
        super().__init__(details=details)


class BillingOperation(TenantModel):
    """`request`: what was asked for. `result`: what it gave; of a failed one the details of its error.

    `actor`: who asked, as the audit log names them.
    """

    owner, reading = None, BILLING_READ
    actor = CharField()
    kind = CharField()
    request: dict[str, Any] = BinaryJSONField(default=dict)
    is_change = BooleanField()
    state = CharField(default=PENDING)
    result: dict[str, Any] | None = BinaryJSONField(null=True)
    error_code = CharField(null=True)
    error_message = TextField(null=True)
    finished_at = DateTimeTZField(null=True)

    @classmethod
    @in_transaction
    def open(
        cls,
        tenant_id: UUID,
        kind: str,
        request: dict[str, Any],
        by: Principal | str,
        client: ClientInfo = UNKNOWN_CLIENT,
    ) -> "BillingOperation":
        """A new operation. The caller enqueues its job in the same transaction. ChangePending (409)."""
        actor = by.subject if isinstance(by, Principal) else by
        is_change = kind in CHANGES
        operation = cls.insert_if_new(tenant_id=tenant_id, kind=kind, request=request, actor=actor, is_change=is_change)
        if operation is None:
            raise ChangePending(cls.open_change(tenant_id))
        if kind != PREVIEW:  # it changes nothing and gives no access
            audit.record(
                f"billing.{kind}_asked",
                by,
                f"tenant:{tenant_id}",
                tenant_id=tenant_id,
                client=client,
                operation_id=str(operation.id),
                request=request,
            )
        return operation

    @classmethod
    def open_change(cls, tenant_id: UUID) -> "BillingOperation | None":
        """The change of the tenant's subscription that has not ended."""
        return cls.get_or_none((cls.tenant_id == tenant_id) & cls.is_change & (cls.state == PENDING))

    @classmethod
    def find(cls, principal: Principal, operation_id: str) -> "BillingOperation":
        """One that the caller may see. OperationNotFound."""
        found = cls.visible_to(principal).where(cls.id == parse_uuid(operation_id)).get_or_none()
        if found is None:
            raise OperationNotFound()
        return found

    @classmethod
    def reload(cls, operation_id: UUID) -> "BillingOperation | None":
        return cls.get_or_none(cls.id == operation_id)

    @property
    def is_finished(self) -> bool:
        return self.state != PENDING

    @in_transaction
    def succeed(self, result: dict[str, Any] | None = None) -> bool:
        """End it. False if it has ended before: then nothing else of it may be written either."""
        return self._end(SUCCEEDED, result=result)

    @in_transaction
    def fail(self, code: str, message: str, details: dict[str, Any] | None = None) -> bool:
        """End it with an error, whose stable code says how the edge answers. False if it has ended before."""
        return self._end(FAILED, error_code=code, error_message=message, result=details)

    def _end(self, state: str, **columns: Any) -> bool:
        is_open = (BillingOperation.id == self.id) & (BillingOperation.state == PENDING)
        ended_at = now()
        if not BillingOperation.update(state=state, finished_at=ended_at, **columns).where(is_open).execute():
            return False
        self.state, self.finished_at = state, ended_at
        for name, value in columns.items():
            setattr(self, name, value)
        if self.kind != PREVIEW:
            audit.record(
                f"billing.{self.kind}_{state}",
                self.actor,
                f"tenant:{self.tenant_id}",
                tenant_id=self.tenant_id,
                operation_id=str(self.id),
                code=self.error_code,
            )
        return True

    @classmethod
    def listing(
        cls, *, tenant_id: UUID | None = None, state: str | None = None, kind: str | None = None, limit: int = 50
    ) -> list["BillingOperation"]:
        """The newest first, filtered by whatever is not None. For operators."""
        query = cls.select().order_by(cls.created_at.desc(), cls.id.desc()).limit(limit)
        for column, value in ((cls.tenant_id, tenant_id), (cls.state, state), (cls.kind, kind)):
            if value:
                query = query.where(column == value)
        return list(query)

    @classmethod
    def purge(cls, days: int, limit: int = 5000) -> int:
        """Delete at most `limit` that ended more than `days` days ago. Returns how many were deleted."""
        old = cls.select(cls.id).where(cls.finished_at < fn.now() - timedelta(days=days)).limit(limit)
        return cast(int, cls.delete().where(cls.id.in_(old)).execute())
