"""Approvals: calls of tools about which a person decides. Each is asked and decided once; models/runs/waiting.py does both."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast
from uuid import UUID

from peewee import BooleanField, CharField, Expression, IntegerField, ModelSelect, TextField, UUIDField, fn

from models.platform.authorization import APPROVAL_DECIDE, RUN_READ, may
from models.platform.clock import iso
from models.platform.errors import Conflict, Forbidden, NotFound
from models.platform.ids import parse_uuid
from models.platform.json import encode_sorted
from models.platform.keyset import KeysetPage
from models.platform.model import BinaryJSONField, DateTimeTZField, TenantModel
from models.platform.principal import Principal
from models.runs import tool_policy

PENDING, APPROVED, DENIED, EXPIRED, CANCELLED = "pending", "approved", "denied", "expired", "cancelled"
DECIDED = (APPROVED, DENIED, EXPIRED)  # what a worker can act on


Verdict = Literal["approved", "denied", "expired"]


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A call that a person has to decide about.

    `scope` and `number`: of the call's step in the journal. `reason`: its tool asks always or for these arguments (tool), a hosted
    MCP server asks (mcp), or the call was cut in the middle and may not be made twice (cut). `parameters`: the JSON schema
    of the arguments; None if a person cannot change them.
    """

    number: int
    call_id: str
    tool_name: str
    arguments: dict[str, Any]
    reason: Literal["tool", "mcp", "cut"] = "tool"
    scope: str = ""
    parameters: dict[str, Any] | None = None


class ApprovalNotFound(NotFound):
    code, message = "approval_not_found", "Approval not found."


class ApprovalChanged(Conflict):
    code = "approval_changed"
    message = "The digest does not belong to this call. Read the approval again, and decide about what it says now."


class ApprovalDecided(Conflict):
    code, message = "approval_decided", "The approval was decided otherwise, has expired, or was cancelled."


class ApprovalNeedsAdmin(Forbidden):
    code = "approval_needs_admin"
    message = "Calls of this tool are approved by an admin of the tenant who did not start the run."


class ArgumentsAreTheOwners(Forbidden):
    code = "arguments_of_another"
    message = "A call acts for the user who started the run: only they may change its arguments."


class Approval(TenantModel):
    """One question about one call.

    user_id      who started the run, and for whom the call acts; null for a service account
    job_id       the job that waits for it
    scope        of the step; from here to `parameters`, and `reason`: as in ApprovalRequest
    digest       what a decision has to name: it stands for this question, this tool and these arguments
    needs_admin  whether an admin decides who did not start the run; otherwise whoever may decide about the run
    note         the reason that the person gave
    edited       the arguments that the person wants instead; null for those of the model
    """

    owner, reading = "user_id", RUN_READ
    user_id = UUIDField(null=True)
    run_id = UUIDField()
    job_id = UUIDField()
    scope = CharField(default="")
    number = IntegerField()
    call_id = TextField()
    tool_name = TextField()
    arguments: dict[str, Any] = BinaryJSONField()
    parameters: dict[str, Any] | None = BinaryJSONField(null=True)
    digest = CharField()
    reason = CharField()
    needs_admin = BooleanField(default=False)
    state = CharField(default=PENDING)
    expires_at = DateTimeTZField()
    decided_by = UUIDField(null=True)
    decided_at = DateTimeTZField(null=True)
    note = TextField(null=True)
    edited: dict[str, Any] | None = BinaryJSONField(null=True)

    @classmethod
    def of_run(cls, run_id: UUID, *, only_open: bool = False) -> list["Approval"]:
        """The approvals of a run, the oldest first. The caller has seen to it that the run may be read."""
        query = cls.select().where(cls.run_id == run_id).order_by(cls.id)
        return list(query.where(cls.state == PENDING) if only_open else query)

    @classmethod
    def find(cls, principal: Principal, run_id: object, call: str, digest: str) -> "Approval":
        """The approval of this call, by the call's id or its own. ApprovalNotFound, or ApprovalChanged.

        Some model servers repeat ids of calls within a run. The digest says which of them is meant.
        """
        is_it = (cls.run_id == parse_uuid(run_id)) & _named(call)
        newest_first = list(cls.visible_to(principal).where(is_it).order_by(cls.id.desc()))
        if not newest_first:
            raise ApprovalNotFound()
        for approval in newest_first:
            if approval.digest == digest:
                return approval
        newest = newest_first[0]
        raise ApprovalChanged(details={"approval_id": str(newest.id), "state": newest.state})

    @classmethod
    def page(cls, principal: Principal, limit: int, cursor: str | None = None) -> "KeysetPage[Approval]":
        """The open approvals about which the caller may decide, the newest first. InvalidCursor."""
        fields = list(cls._meta.sorted_fields)
        query = cls._decidable_by(principal).select(*fields)

        def row(*values: Any) -> Approval:
            return cls(__no_default__=True, **dict(zip([field.name for field in fields], values, strict=True)))

        return KeysetPage.of(query, row, [cls.id], limit, cursor)

    @classmethod
    def _decidable_by(cls, principal: Principal) -> "ModelSelect[Approval]":
        query = cls.visible_to(principal).where(cls.state == PENDING)
        if not may(principal, APPROVAL_DECIDE) or principal.tenant_id is None:
            return query.where(False)
        rules = tool_policy.of_tenant(principal.tenant_id)  # one may be newer than the question
        is_admins = cls.needs_admin | cls.tool_name.in_([tool for tool, rule in rules.items() if rule == "admin"])
        is_foreign = cls.user_id.is_null() | (cls.user_id != principal.user_id)
        return query.where(~is_admins | (is_foreign & principal.has_role("admin")))

    def require_decider(self, principal: Principal, *, edits: bool, is_admins: bool) -> None:
        """Raise why the caller may not decide about this call, or not with other arguments, if so.

        `is_admins`: by now the tenant wants an admin for this tool.
        """
        if (self.needs_admin or is_admins) and (not principal.has_role("admin") or self.user_id == principal.user_id):
            raise ApprovalNeedsAdmin()
        if edits and self.user_id not in (None, principal.user_id):
            raise ArgumentsAreTheOwners()

    @classmethod
    def cancel_open(cls, run_id: UUID) -> None:
        """The run has ended: nobody has to decide any more."""
        cls.update(state=CANCELLED, decided_at=fn.now()).where(
            (cls.run_id == run_id) & (cls.state == PENDING)
        ).execute()

    @classmethod
    def purge(cls, days: int, limit: int = 10_000) -> int:
        """Delete at most `limit` approvals that were decided more than `days` days ago, but none of a run that waits for
        others. Returns how many were deleted."""
        others = cls.alias()
        waits = fn.exists(others.select().where((others.run_id == cls.run_id) & (others.state == PENDING)))
        old = cls.select(cls.id).where((cls.decided_at < fn.now() - timedelta(days=days)) & ~waits).limit(limit)
        return cast(int, cls.delete().where(cls.id.in_(old)).execute())

    @classmethod
    def newest_decisions(cls, run_id: UUID) -> dict[tuple[str, int], "Approval"]:
        """The newest decided approval of each step of a run, by scope and number."""
        decided = cls.select().where((cls.run_id == run_id) & cls.state.in_(DECIDED)).order_by(cls.id)
        return {(approval.scope, approval.number): approval for approval in decided}


def digest_of(approval_id: UUID, tool_name: str, arguments: dict[str, Any]) -> str:
    """64 hexadecimal characters. With the id in it, a repeated request can never count for a later, equal call."""
    asked = {"approval": str(approval_id), "tool": tool_name, "arguments": arguments}
    return hashlib.sha256(encode_sorted(asked)).hexdigest()


def summary(approval: Approval) -> dict[str, Any]:
    """What events and errors say of an open approval: all that a client needs to decide."""
    return {
        "id": str(approval.id),
        "call_id": approval.call_id,
        "tool_name": approval.tool_name,
        "arguments": approval.arguments,
        "digest": approval.digest,
        "reason": approval.reason,
        "needs_admin": approval.needs_admin,
        "expires_at": iso(approval.expires_at),
    }


def _named(call: str) -> Expression:
    own_id = parse_uuid(call)
    is_call: Expression = Approval.call_id == call
    return is_call | (Approval.id == own_id) if own_id else is_call
