"""Who is calling: the one value that every visibility and permission check reads."""

from dataclasses import dataclass, field
from uuid import UUID

READ = ("conversations:read", "tools:read")
WRITE = (*READ, "conversations:write")
MANAGE = (*WRITE, "conversations:delete", "billing:read", "billing:manage", "support:read")
RANK = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}
_SCOPES = {"owner": MANAGE, "admin": MANAGE, "member": WRITE, "editor": WRITE}


def scopes_for(role: str) -> list[str]:
    """The scopes that a membership role is granted at sign-in (sorted)."""
    return sorted(_SCOPES.get(role.lower(), READ))


def scope_satisfies(held: frozenset[str] | set[str], wanted: str) -> bool:
    """`ns:*` satisfies every `ns:...`; `support:*` satisfies any scope."""
    return wanted in held or f"{wanted.split(':', 1)[0]}:*" in held or "support:*" in held


@dataclass(frozen=True, slots=True)
class Principal:
    user_id: UUID
    tenant_id: UUID
    role: str = "viewer"
    scopes: frozenset[str] = field(default_factory=frozenset)
    session_id: UUID | None = None
    email_verified: bool = False

    def has_scope(self, wanted: str) -> bool:
        return scope_satisfies(self.scopes, wanted)

    def has_role(self, wanted: str) -> bool:
        return RANK.get(self.role, 0) >= RANK[wanted]

    @property
    def is_admin(self) -> bool:
        return self.has_role("admin")
