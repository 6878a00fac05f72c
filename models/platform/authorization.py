"""Who may do what: the table of all actions, and `may`, which answers for every one of them.

The guard of a route, the visibility of rows, what somebody may give to others, and the operators' commands ask here.
The rule behind all of it: nobody gives or gains what they lack.
"""

from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from typing import Protocol
from uuid import UUID

from models.platform.errors import BadRequest, DomainError, Forbidden, NotAuthenticated
from models.platform.principal import ANY_SCOPE, GRANTS, PLATFORM_OPERATOR, RANK, Principal, Root, satisfying
from models.platform.settings import settings

REASON_LENGTH = 512  # characters of an operator's reason that are kept


class Rows(Enum):
    """Which rows an action covers. OWN: the caller's; but all of the tenant for its admins, machines and operators."""

    NONE = 0
    OWN = 1
    TENANT = 2
    ALL = 3


@dataclass(frozen=True, slots=True)
class Action:
    """One line of the table: what it takes to do one thing.

    scope       the scope that the caller must have
    role        the lowest role that a user must have in the tenant; None: it needs no tenant
    machines    whether service accounts may, which have no role: their scope decides
    unverified  whether users may whose address is not verified
    rows        which rows it covers
    elsewhere   the grant that lets an operator do it in another tenant, with a reason; None: nobody may
    everywhere  whether operators do it in all tenants at once, instead of in the one that X-Tenant-Id names
    below       whether it is only done to users of a lower role
    public      whether anybody may, without a token
    """

    name: str
    _: KW_ONLY
    scope: str | None = None
    role: str | None = None
    machines: bool = False
    unverified: bool = False
    rows: Rows = Rows.TENANT
    elsewhere: str | None = None
    everywhere: bool = False
    below: bool = False
    public: bool = False
    scopes: frozenset[str] = field(init=False)  # any of these will do; empty: no scope is needed

    def __post_init__(self) -> None:
        if self.machines and not self.scope:
            raise ValueError(f"{self.name} has no scope, but machines have nothing else that could allow it.")
        object.__setattr__(self, "scopes", satisfying(self.scope) if self.scope else frozenset())


# fmt: off
# The table. A scope that is a grant, such as auth:invites, comes from a shell only: `python -m models operators`.
PUBLIC                 = Action("public", public=True)
OWN_ACCOUNT            = Action("account.own",            unverified=True, rows=Rows.OWN)
PASSWORD_RESET         = Action("password.reset",         scope="support:read",          role="admin",  below=True)
AGENT_READ             = Action("agent.read",             scope="tools:read",                           machines=True, elsewhere=ANY_SCOPE)
CONVERSATION_READ      = Action("conversation.read",      scope="conversations:read",    role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
CONVERSATION_ASK       = Action("conversation.ask",       scope="conversations:write",   role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
CONVERSATION_RENAME    = Action("conversation.rename",    scope="conversations:write",   role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
CONVERSATION_DELETE    = Action("conversation.delete",    scope="conversations:delete",  role="admin",  machines=True, elsewhere=ANY_SCOPE)
RUN_READ               = Action("run.read",               scope="conversations:read",    role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
RUN_CANCEL             = Action("run.cancel",             scope="conversations:write",   role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
APPROVAL_DECIDE        = Action("approval.decide",        scope="conversations:write",   role="viewer", rows=Rows.OWN)
RUN_RETRY              = Action("run.retry",              scope="conversations:write",   role="viewer", machines=True, rows=Rows.OWN, elsewhere=ANY_SCOPE)
WORKFLOW_READ          = Action("workflow.read",          scope="conversations:read",    role="viewer", machines=True, elsewhere=ANY_SCOPE)
STORAGE_READ           = Action("storage.read",           role="viewer", elsewhere=ANY_SCOPE)
STORAGE_UPLOAD         = Action("storage.upload",         role="member", elsewhere=ANY_SCOPE)
STORAGE_DELETE         = Action("storage.delete",         role="admin",  elsewhere=ANY_SCOPE)
VECTOR_STORE_READ      = Action("vector_store.read",      role="viewer", elsewhere=ANY_SCOPE)
VECTOR_STORE_MANAGE    = Action("vector_store.manage",    role="admin",  elsewhere=ANY_SCOPE)
CONTAINER_READ         = Action("container.read",         role="viewer", elsewhere=ANY_SCOPE)
CONTAINER_MANAGE       = Action("container.manage",       role="admin",  elsewhere=ANY_SCOPE)
BILLING_READ           = Action("billing.read",           scope="billing:read",          role="viewer", machines=True, elsewhere=ANY_SCOPE)
BILLING_MANAGE         = Action("billing.manage",         scope="billing:manage",        role="admin",  machines=True, elsewhere=ANY_SCOPE)
BILLING_OPERATE        = Action("billing.operate",        scope=PLATFORM_OPERATOR,       rows=Rows.ALL)
CONTACT_OPERATE        = Action("contact.operate",        scope=PLATFORM_OPERATOR,       rows=Rows.ALL)
STATUS_OPERATE         = Action("status.operate",         scope="status:operate",        rows=Rows.ALL)
STATUS_SUBSCRIPTION_MANAGE = Action("status_subscription.manage", scope="status:manage", role="admin", machines=True, elsewhere=ANY_SCOPE)
MAIL_OPERATE           = Action("mail.operate",           scope=PLATFORM_OPERATOR,       rows=Rows.ALL)
TENANT_SETTINGS_READ   = Action("tenant_settings.read",   role="admin", elsewhere=ANY_SCOPE)
TENANT_SETTINGS_CHANGE = Action("tenant_settings.change", role="admin", elsewhere=ANY_SCOPE)
SERVICE_TOKEN_READ     = Action("service_token.read",     role="admin", elsewhere=PLATFORM_OPERATOR, everywhere=True)
SERVICE_TOKEN_ISSUE    = Action("service_token.issue",    role="admin", elsewhere=PLATFORM_OPERATOR, everywhere=True)
SERVICE_TOKEN_REVOKE   = Action("service_token.revoke",   role="admin", elsewhere=PLATFORM_OPERATOR, everywhere=True)
INVITE_READ            = Action("invite.read",            scope="auth:invites",          rows=Rows.ALL)
INVITE_ISSUE           = Action("invite.issue",           scope="auth:invites",          rows=Rows.ALL)
INVITE_REVOKE          = Action("invite.revoke",          scope="auth:invites",          rows=Rows.ALL)
SIGNUP_REQUEST_READ    = Action("signup_request.read",    scope="auth:signup_requests",  rows=Rows.ALL)
SIGNUP_REQUEST_APPROVE = Action("signup_request.approve", scope="auth:signup_requests",  rows=Rows.ALL)
SIGNUP_REQUEST_REJECT  = Action("signup_request.reject",  scope="auth:signup_requests",  rows=Rows.ALL)
MEMBER_ADD             = Action("member.add",             role="admin")
MEMBER_CHANGE_ROLE     = Action("member.change_role",     role="admin")
MEMBER_REMOVE          = Action("member.remove",          role="admin")
USER_DISABLE           = Action("user.disable",           scope=PLATFORM_OPERATOR, elsewhere=PLATFORM_OPERATOR, everywhere=True)
USER_ENABLE            = Action("user.enable",            scope=PLATFORM_OPERATOR, elsewhere=PLATFORM_OPERATOR, everywhere=True)
USER_SIGN_OUT          = Action("user.sign_out",          scope=PLATFORM_OPERATOR, elsewhere=PLATFORM_OPERATOR, everywhere=True)
OPERATOR_GRANT         = Action("operator.grant",         scope=PLATFORM_OPERATOR, elsewhere=PLATFORM_OPERATOR, everywhere=True)
OPERATOR_REVOKE        = Action("operator.revoke",        scope=PLATFORM_OPERATOR, elsewhere=PLATFORM_OPERATOR, everywhere=True)
# fmt: on


def actions() -> dict[str, Action]:
    """The table by name."""
    return {action.name: action for action in list(globals().values()) if isinstance(action, Action)}


class PeopleOnly(NotAuthenticated):
    message = "Token subject must reference a user account."


class TenantMissing(NotAuthenticated):
    code, message = "tenant_missing", "Authenticated token is missing tenant context."


class InsufficientScope(Forbidden):
    code, message = "insufficient_scope", "Insufficient scopes for this operation."


class InsufficientRole(Forbidden):
    code, message = "insufficient_role", "Insufficient tenant privileges for this operation."


class EmailNotVerified(Forbidden):
    code, message = "email_not_verified", "Email verification required."


class OutOfReach(Forbidden):
    code, message = "out_of_reach", "This goes beyond what you may see, hold or give yourself."


class OverrideRefused(Forbidden):
    code, message = "override_refused", "Platform operator scope (support:*) required for override."


class OverrideReasonMissing(BadRequest):
    code = "override_reason_missing"
    message = "X-Operator-Reason header is required when X-Operator-Override is true."


class Row(Protocol):
    """A row of a tenant. `owner` names the column of the user whose row it is, None if the tenant shares its rows."""

    @property
    def owner(self) -> str | None: ...
    @property
    def tenant_id(self) -> UUID | None: ...


@dataclass(frozen=True, slots=True)
class Rights:
    """What an act would give: scopes in a tenant, and perhaps a role there. Without a tenant they hold in all of them."""

    tenant_id: UUID | None
    scopes: frozenset[str]
    role: str | None = None


Caller = Principal | Root
Resource = Row | Rights | None


def may(caller: Caller, action: Action, resource: Resource = None) -> bool:
    """Whether the caller may do this: at all; to this row; or so that it gives these rights."""
    return refusal(caller, action, resource) is None


def require(caller: Caller, action: Action, resource: Resource = None) -> None:
    """Raise why the caller may not do this, if so."""
    error = refusal(caller, action, resource)
    if error is not None:
        raise error()


def refusal(caller: Caller, action: Action, resource: Resource = None) -> type[DomainError] | None:
    """Why the caller may not do this; None if they may."""
    if isinstance(caller, Root) or action.public:
        return None
    return _not_at_all(caller, action) or (None if resource is None else _not_to(caller, action, resource))


def _not_at_all(caller: Principal, action: Action) -> type[DomainError] | None:
    machine = caller.account is not None
    if machine and not action.machines:
        return PeopleOnly
    if caller.override is not None and not can_act_elsewhere(caller, action):
        return OverrideRefused
    if action.role and caller.tenant_id is None and not _is_everywhere(caller, action):
        return TenantMissing
    if action.scopes and action.scopes.isdisjoint(caller.scopes):
        return InsufficientScope
    if not (caller.email_verified or action.unverified) and settings.require_email_verification:
        return EmailNotVerified
    if action.role and not machine and not caller.has_role(action.role):
        return InsufficientRole
    return None


def _not_to(caller: Principal, action: Action, resource: Row | Rights) -> type[DomainError] | None:
    if isinstance(resource, Rights):
        return None if _holds(caller, action, resource) else OutOfReach
    return None if _covers(caller, action, resource) else OutOfReach


def _holds(caller: Principal, action: Action, rights: Rights) -> bool:
    """Whether the caller has all of these rights. Elsewhere an operator has their grants, and only with a reason."""
    if rights.tenant_id is None or rights.tenant_id != caller.tenant_id:
        if rights.role or not _is_everywhere(caller, action):
            return False
    elif rights.role and RANK.get(rights.role, 0) + action.below > RANK.get(caller.role, 0):
        return False
    return all(caller.has_scope(scope) for scope in rights.scopes)


def _covers(caller: Principal, action: Action, row: Row) -> bool:
    covered = _reach(caller, action)
    if covered is Rows.ALL:
        return True
    if covered is Rows.NONE or row.tenant_id != caller.tenant_id:
        return False
    return covered is Rows.TENANT or (row.owner is not None and getattr(row, row.owner) == caller.user_id)


def rows(caller: Principal, action: Action) -> Rows:
    """Which rows the caller reaches with this action."""
    return Rows.NONE if _not_at_all(caller, action) else _reach(caller, action)


def _reach(caller: Principal, action: Action) -> Rows:
    if action.rows is Rows.ALL or _is_everywhere(caller, action):
        return Rows.ALL
    if caller.tenant_id is None:
        return Rows.NONE
    if action.rows is Rows.TENANT or caller.account is not None or caller.has_role("admin"):
        return Rows.TENANT
    return Rows.NONE if caller.user_id is None else Rows.OWN


def can_act_elsewhere(caller: Principal, action: Action) -> bool:
    """Whether the caller has the grant that this action takes in another tenant."""
    return action.elsewhere is not None and caller.has_scope(action.elsewhere)


def elsewhere(caller: Principal, action: Action, tenant_id: UUID | None, reason: str | None) -> Principal:
    """The caller, acting in another tenant (None: in all). There they have their grants, and no scope of their own tenant.

    This is the only way into another tenant. OverrideRefused, or OverrideReasonMissing.
    """
    if not can_act_elsewhere(caller, action):
        raise OverrideRefused()
    reason = (reason or "").strip()
    if not reason:
        raise OverrideReasonMissing()
    reason = reason[:REASON_LENGTH]
    return replace(caller, tenant_id=tenant_id, role="owner", scopes=caller.scopes & GRANTS, override=reason)


def _is_everywhere(caller: Principal, action: Action) -> bool:
    return caller.override is not None and caller.tenant_id is None and action.everywhere
