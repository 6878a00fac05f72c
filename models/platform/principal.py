"""Who is calling: the one value that every visibility and permission check reads."""

from dataclasses import dataclass, field
from uuid import UUID

READ = ("conversations:read", "tools:read")
WRITE = (*READ, "conversations:write")
MANAGE = (*WRITE, "conversations:delete", "billing:read", "billing:manage", "support:read")
RANK = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}
_SCOPES = {"owner": MANAGE, "admin": MANAGE, "member": WRITE, "editor": WRITE}
# What no membership gives: the platform's own operators are granted it (`python -m models operators`).
PLATFORM_OPERATOR, ANY_SCOPE = "platform:operator", "support:*"
OPERATOR = (PLATFORM_OPERATOR, "auth:invites", "auth:signup_requests", "status:manage")


def scopes_for(role: str) -> list[str]:
    """The scopes that a membership role is granted at sign-in (sorted)."""
    return sorted(_SCOPES.get(role.lower(), READ))


def role_for(scopes: frozenset[str]) -> str:
    """The role of a machine, which has no membership: the lowest one that is granted all its scopes."""
    return next((role for role in ("viewer", "member") if scopes <= set(scopes_for(role))), "admin")


def scope_satisfies(held: frozenset[str] | set[str], wanted: str) -> bool:
    """`ns:*` satisfies every `ns:...`; `support:*` satisfies any scope."""
    return wanted in held or f"{wanted.split(':', 1)[0]}:*" in held or ANY_SCOPE in held


@dataclass(frozen=True, slots=True)
class Principal:
    """A user in a tenant, or a service account: then `account` is its name and there is no `user_id`.

    `override` is the reason that an operator gave for acting outside their own tenant.
    """

    user_id: UUID | None
    tenant_id: UUID | None
    role: str = "viewer"
    scopes: frozenset[str] = field(default_factory=frozenset)
    session_id: UUID | None = None
    email_verified: bool = False
    account: str | None = None
    override: str | None = None

    @property
    def subject(self) -> str:
        """Who it is in tokens, in the audit log and in the keys of limits."""
        return f"service-account:{self.account}" if self.account else f"user:{self.user_id}"

    def has_scope(self, wanted: str) -> bool:
        return scope_satisfies(self.scopes, wanted)

    def has_role(self, wanted: str) -> bool:
        return RANK.get(self.role, 0) >= RANK[wanted]

    @property
    def is_admin(self) -> bool:
        return self.has_role("admin")

    @property
    def sees_tenant(self) -> bool:
        """Whether all of the tenant's rows are theirs to see, not only their own. A machine has none of its own."""
        return self.is_admin or self.account is not None

    @property
    def is_operator(self) -> bool:
        return bool(self.scopes & {PLATFORM_OPERATOR, ANY_SCOPE})
