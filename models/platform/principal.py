"""Who is calling: what every check of permissions and visibility is based on."""

from dataclasses import dataclass, field
from uuid import UUID

READ = ("conversations:read", "tools:read")
WRITE = (*READ, "conversations:write")
MANAGE = (*WRITE, "conversations:delete", "billing:read", "billing:manage", "support:read")
RANK = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}
_SCOPES = {"owner": MANAGE, "admin": MANAGE, "member": WRITE, "editor": WRITE}
# Scopes that no membership gives. They are granted to operators: `python -m models operators`.
PLATFORM_OPERATOR, ANY_SCOPE = "platform:operator", "support:*"
OPERATOR = (PLATFORM_OPERATOR, "auth:invites", "auth:signup_requests", "status:manage")


def scopes_for(role: str) -> list[str]:
    """The scopes of a membership role, sorted."""
    return sorted(_SCOPES.get(role.lower(), READ))


def role_for(scopes: frozenset[str]) -> str:
    """The role of a service account, which has no membership: the lowest one that has all of its scopes."""
    return next((role for role in ("viewer", "member") if scopes <= set(scopes_for(role))), "admin")


def scope_satisfies(scopes: frozenset[str] | set[str], required: str) -> bool:
    """Whether `scopes` include the required one. `ns:*` includes every `ns:...`, and `support:*` includes all."""
    return required in scopes or f"{required.split(':', 1)[0]}:*" in scopes or ANY_SCOPE in scopes


@dataclass(frozen=True, slots=True)
class Principal:
    """A user in a tenant, or a service account, which has an `account` name and no `user_id`.

    `override`: the reason that an operator gave for acting in another tenant than their own.
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
        """Identifies the caller in tokens, in the audit log and in the keys of limits."""
        return f"service-account:{self.account}" if self.account else f"user:{self.user_id}"

    def has_scope(self, required: str) -> bool:
        return scope_satisfies(self.scopes, required)

    def has_role(self, required: str) -> bool:
        """Whether the caller's role is the required one or a higher one."""
        return RANK.get(self.role, 0) >= RANK[required]

    @property
    def is_admin(self) -> bool:
        return self.has_role("admin")

    @property
    def sees_tenant(self) -> bool:
        """Whether the caller sees all rows of the tenant. A service account does: it has no rows of its own."""
        return self.is_admin or self.account is not None

    @property
    def is_operator(self) -> bool:
        return bool(self.scopes & {PLATFORM_OPERATOR, ANY_SCOPE})
