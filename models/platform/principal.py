"""Who is calling: what every decision of models.platform.authorization is based on."""

from dataclasses import dataclass, field
from uuid import UUID

READ = ("conversations:read", "tools:read")
WRITE = (*READ, "conversations:write")
MANAGE = (*WRITE, "conversations:delete", "billing:read", "billing:manage", "support:read", "status:manage")
RANK = {"viewer": 0, "member": 1, "admin": 2, "owner": 3}
_SCOPES = {"owner": MANAGE, "admin": MANAGE, "member": WRITE, "editor": WRITE}
# Grants: scopes that no membership gives, and that hold in every tenant. `python -m models operators` gives them.
PLATFORM_OPERATOR, ANY_SCOPE = "platform:operator", "support:*"
OPERATOR = (PLATFORM_OPERATOR, "auth:invites", "auth:signup_requests", "status:operate")
GRANTS = frozenset((*OPERATOR, ANY_SCOPE))


def scopes_for(role: str) -> list[str]:
    """The scopes of a membership role, sorted."""
    return sorted(_SCOPES.get(role.lower(), READ))


def satisfying(required: str) -> frozenset[str]:
    """The scopes that include the required one. `ns:*` includes every `ns:...`, and `support:*` includes all."""
    return frozenset((required, f"{required.split(':', 1)[0]}:*", ANY_SCOPE))


def scope_satisfies(scopes: frozenset[str] | set[str], required: str) -> bool:
    """Whether `scopes` include the required one."""
    return not satisfying(required).isdisjoint(scopes)


class Root(str):
    """The name of a root of trust, whose rights no table limits: it may give what nobody holds yet.

    There are two: a shell of the installation (`operator:jo`), and a deployment that signs its requests (`signer:ci`).
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Principal:
    """A user in a tenant, or a service account, which has an `account` name and no `user_id`.

    `tenant_id`: where the caller acts. `role`: of a user there; a service account has none, and acts by its scopes.
    `override`: the reason that an operator gave for acting elsewhere; None for a caller who acts in their own tenant.
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
        """Whether a user's role is the required one or a higher one. A service account has no role."""
        return self.account is None and RANK.get(self.role, 0) >= RANK[required]
