"""Users and their memberships in tenants.

Status, verified address and role decide what a user may do, so only the verbs here write them. Each verb records the change
in the audit log, and makes it count for the user's open sessions at once.
"""

from dataclasses import dataclass
from uuid import UUID

from peewee import CharField, Expression, ForeignKeyField, TextField, fn

from models.auth import authority
from models.auth.email_addresses import normalize_email
from models.auth.seats import take_seat
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.platform import audit
from models.platform.audit import AuditEvent
from models.platform.authorization import (
    MEMBER_ADD,
    MEMBER_CHANGE_ROLE,
    MEMBER_REMOVE,
    USER_DISABLE,
    USER_ENABLE,
    USER_SIGN_OUT,
    Caller,
    Rights,
    require,
)
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import database, in_transaction
from models.platform.errors import BadRequest, Conflict, Forbidden, NotAuthenticated, NotFound
from models.platform.ids import parse_uuid
from models.platform.locks import lock
from models.platform.model import DateTimeTZField, Model
from models.platform.principal import RANK, scopes_for

PASSWORD_SET = ("auth.password_change", "auth.password_reset", "auth.password_reset_token")  # in the audit log
ACCOUNT_COLUMNS = ("id", "email", "display_name", "status", "email_verified_at", "created_at")
ACTIVE, DISABLED, PENDING = "active", "disabled", "pending"
OWNER = "owner"
# Asked at every page load of most clients, so one fixed statement.
WITH_MEMBERSHIPS = f"""
select {", ".join(f"users.{column}" for column in ACCOUNT_COLUMNS)}, tenant.id, slug, name, role
from users join membership on membership.user_id = users.id join tenant on tenant.id = membership.tenant_id
where users.id = %(user_id)s order by slug"""  # noqa: S608  (made of constants)


class AccountNotActive(Forbidden):
    code = "account_not_active"


class EmailTaken(Conflict):
    code, message = "email_taken", "Email already registered."


class InvalidTenant(NotAuthenticated):
    code, message = "invalid_tenant", "Invalid tenant identifier supplied."


class NotAMember(NotAuthenticated):
    code, message = "not_a_member", "User is not a member of the requested tenant."


class PasswordNotTheirs(Conflict):
    code = "password_not_theirs"


class UnknownRole(BadRequest):
    code, message = "unknown_role", f"A role is one of {', '.join(RANK)}."


class AlreadyMember(Conflict):
    code, message = "already_member", "The user belongs to this tenant already."


class MembershipNotFound(NotFound):
    code, message = "membership_not_found", "The user does not belong to this tenant."


class LastOwner(Conflict):
    code, message = "last_owner", "A tenant keeps at least one active owner. Make somebody else an owner first."


class TenantRequired(BadRequest):
    """The user belongs to several tenants; `details` lists their ids."""

    code, message = "tenant_required", "Tenant context required for multi-tenant users."


class User(Model):
    email = CharField()
    password_hash = TextField()
    status = CharField(default=ACTIVE)
    display_name = CharField(null=True)
    email_verified_at = DateTimeTZField(null=True)

    class Meta:
        table_name = "users"

    @classmethod
    def lock(cls, row_id: UUID) -> "User | None":
        """Like `Model.lock`, but rows that refer to the user may be written meanwhile: a refresh, which holds a session and
        writes a token, must not wait for somebody who holds the user and waits for the session."""
        query = cls.select().where(cls.id == row_id)
        return query.for_update("FOR NO KEY UPDATE").get_or_none()  # type: ignore[arg-type]  # peewee takes the lock's name

    @classmethod
    def by_email(cls, email: str) -> "User | None":
        """The user with this address, in whatever case it is written."""
        return cls.get_or_none(fn.lower(cls.email) == normalize_email(email))

    @classmethod
    @in_transaction
    def add(
        cls,
        email: str,
        password_hash: str,
        *,
        tenant: Tenant,
        role: str = "member",
        verified: bool = False,
        display_name: str | None = None,
    ) -> "User":
        """Create a user and their membership in a tenant.

        Raises SeatLimitReached, or EmailTaken if the address has an account.
        """
        take_seat(tenant.id)
        user = cls.insert_if_new(
            email=normalize_email(email),
            password_hash=password_hash,
            display_name=display_name,
            email_verified_at=now() if verified else None,
        )
        if user is None:
            raise EmailTaken()
        Membership.create(user=user.id, tenant=tenant.id, role=role)
        return user

    @classmethod
    def with_memberships(cls, user_id: UUID | None) -> "tuple[User, list[MembershipSummary]]":
        """The user with ACCOUNT_COLUMNS, and their memberships by the tenant's slug. Raises NotAuthenticated without any."""
        rows = database.execute_prepared(WITH_MEMBERSHIPS, {"user_id": user_id}).fetchall()
        if not rows:
            raise NotAuthenticated("Unknown user.")
        columns = dict(zip(ACCOUNT_COLUMNS, rows[0], strict=False))
        memberships = [MembershipSummary(*row[len(ACCOUNT_COLUMNS) :]) for row in rows]
        return cls(__no_default__=True, **columns), memberships

    def require_active(self) -> None:
        """Raises AccountNotActive."""
        if self.status != ACTIVE:
            raise AccountNotActive(f"User is {self.status}.")

    @in_transaction
    def verify_address(self, *, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """Record that the user has proved to own their address, which activates a pending account."""
        self.email_verified_at = self.email_verified_at or now()
        self.status = ACTIVE if self.status == PENDING else self.status
        self.save(only=[User.email_verified_at, User.status])
        authority.changed(self.id)
        audit.record("auth.email_verified", f"user:{self.id}", f"user:{self.id}", client=client)

    @in_transaction
    def forget_verification(self, *, by: Caller) -> None:
        """Have the user prove again that they own their address."""
        self.email_verified_at = None
        self.save(only=[User.email_verified_at])
        authority.changed(self.id)
        audit.record("auth.verification_forgotten", by, f"user:{self.id}")

    @in_transaction
    def sign_out(self, *, by: Caller, reason: str, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """End the user's sessions in all tenants. OutOfReach if the caller may not."""
        require(by, USER_SIGN_OUT)
        Session.revoke(Session.user_id == self.id, "user_signed_out")
        audit.record("user.signed_out", by, f"user:{self.id}", reason=reason, client=client)

    @in_transaction
    def disable(self, *, by: Caller, reason: str, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """Lock the user out: sessions end, sign-ins are refused, and so are the service tokens that they issued."""
        require(by, USER_DISABLE)
        if self._set_status(DISABLED):
            Session.revoke(Session.user_id == self.id, "user_disabled")
            audit.record("user.disabled", by, f"user:{self.id}", reason=reason, client=client)

    @in_transaction
    def enable(self, *, by: Caller, reason: str, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """Let a disabled user sign in again. Service tokens that they issued work again if they have not been replaced."""
        require(by, USER_ENABLE)
        if self._set_status(ACTIVE, before=DISABLED):
            audit.record("user.enabled", by, f"user:{self.id}", reason=reason, client=client)

    def _set_status(self, status: str, before: str | None = None) -> bool:
        """False if nothing had to be changed."""
        has_other = User.status == before if before else User.status != status
        if not User.update(status=status).where((User.id == self.id) & has_other).execute():
            return False
        self.status = status
        authority.changed(self.id)
        return True

    @property
    def password_is_unchanged(self) -> Expression:
        """A condition for queries: this user's row still has the password hash that was read into this object."""
        return (User.id == self.id) & (User.password_hash == self.password_hash)

    @in_transaction
    def require_own_password(self) -> None:
        """Raises PasswordNotTheirs if somebody else has set the password: whoever did would get all that the user is given.

        The row must be locked, because an admin may be setting the password at this moment.
        """
        is_setting = (AuditEvent.subject == f"user:{self.id}") & AuditEvent.action.in_(PASSWORD_SET)
        event = AuditEvent.select().where(is_setting).order_by(AuditEvent.id.desc()).limit(1).get_or_none()
        if event is not None and event.actor != event.subject:
            raise PasswordNotTheirs(
                f"Somebody else has set the password of {self.email}. Let them choose their own first."
            )


@dataclass(frozen=True, slots=True)
class MembershipSummary:
    """A membership with the tenant's names."""

    tenant_id: UUID
    slug: str
    name: str
    role: str


class Membership(Model):
    user_id: UUID
    tenant_id: UUID
    user = ForeignKeyField(User, on_delete="CASCADE", lazy_load=False)
    tenant = ForeignKeyField(Tenant, on_delete="CASCADE", lazy_load=False)
    role = CharField()

    @classmethod
    @in_transaction
    def add(
        cls,
        user_id: UUID,
        tenant_id: UUID,
        role: str,
        *,
        by: Caller,
        reason: str | None = None,
        client: ClientInfo = UNKNOWN_CLIENT,
    ) -> "Membership":
        """Make a user a member of a tenant.

        Raises UnknownRole, AlreadyMember, SeatLimitReached, PasswordNotTheirs, or OutOfReach for a role above the caller's.
        """
        _require_role(role)
        require(by, MEMBER_ADD, _rights(tenant_id, role))
        take_seat(tenant_id, user_id)
        user = User.lock(user_id)
        if user is not None:
            user.require_own_password()
        membership = cls.insert_if_new(user=user_id, tenant=tenant_id, role=role)
        if membership is None:
            raise AlreadyMember()
        _record("membership.added", membership, by, reason, client, role=role)
        return membership

    @in_transaction
    def change_role(
        self, role: str, *, by: Caller, reason: str | None = None, client: ClientInfo = UNKNOWN_CLIENT
    ) -> None:
        """Sessions go on with the new role.

        Raises UnknownRole, MembershipNotFound, LastOwner, PasswordNotTheirs, or OutOfReach for a role above the caller's.
        """
        _require_role(role)
        user, before = self._lock()
        for touched in (before, role):
            require(by, MEMBER_CHANGE_ROLE, _rights(self.tenant_id, touched))
        if role == before:
            return
        if RANK[role] > RANK.get(before, 0):
            user.require_own_password()
        if before == OWNER:
            self._require_another_owner()
        self.role = role
        self.save(only=[Membership.role])
        _record("membership.role_changed", self, by, reason, client, before=before, role=role)

    @in_transaction
    def remove(self, *, by: Caller, reason: str | None = None, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """End the membership and the user's sessions in the tenant. Raises MembershipNotFound, LastOwner or OutOfReach."""
        _, role = self._lock()
        require(by, MEMBER_REMOVE, _rights(self.tenant_id, role))
        if role == OWNER:
            self._require_another_owner()
        self.delete_instance()
        Session.revoke((Session.user_id == self.user_id) & (Session.tenant_id == self.tenant_id), "membership_removed")
        _record("membership.removed", self, by, reason, client, role=role)

    def _lock(self) -> "tuple[User, str]":
        """Let one change of the tenant's members happen at a time, and no login of this user.

        Returns (the user, the stored role).
        """
        lock("members", self.tenant_id)
        user, stored = User.lock(self.user_id), Membership.lock(self.id)
        if user is None or stored is None:
            raise MembershipNotFound()
        return user, stored.role

    def _require_another_owner(self) -> None:
        others = (Membership.tenant == self.tenant_id) & (Membership.role == OWNER) & (Membership.id != self.id)
        active = User.id.in_(Membership.select(Membership.user).where(others)) & (User.status == ACTIVE)
        if not User.select(User.id).where(active).exists():
            raise LastOwner()

    @classmethod
    def of_user(cls, user_id: UUID) -> "list[Membership]":
        return list(cls.select().where(cls.user == user_id))

    @classmethod
    def in_tenant(cls, user_id: UUID, tenant_id: UUID) -> "Membership":
        """Raises MembershipNotFound."""
        membership = cls.get_or_none((cls.user == user_id) & (cls.tenant == tenant_id))
        if membership is None:
            raise MembershipNotFound()
        return membership

    @classmethod
    def for_session(cls, user_id: UUID, tenant_id: UUID | str | None) -> "Membership":
        """The membership in the given tenant; without a tenant, the only one that the user has.

        Raises InvalidTenant (not a UUID), NotAMember, or TenantRequired if the user has to say which tenant.
        """
        memberships = cls.of_user(user_id)
        if tenant_id:
            return cls._in_tenant(memberships, tenant_id)
        if not memberships:
            raise NotAMember("User is not assigned to any tenant.")
        if len(memberships) > 1:
            raise TenantRequired(details={"tenants": sorted(str(membership.tenant_id) for membership in memberships)})
        return memberships[0]

    @staticmethod
    def _in_tenant(memberships: "list[Membership]", tenant_id: UUID | str) -> "Membership":
        parsed_id = parse_uuid(tenant_id)
        if parsed_id is None:
            raise InvalidTenant()
        for membership in memberships:
            if membership.tenant_id == parsed_id:
                return membership
        raise NotAMember()


def _rights(tenant_id: UUID, role: str) -> Rights:
    return Rights(tenant_id, frozenset(scopes_for(role)), role)


def _require_role(role: str) -> None:
    if role not in RANK:
        raise UnknownRole()


def _record(
    action: str, membership: Membership, by: Caller, reason: str | None, client: ClientInfo, **details: str
) -> None:
    authority.changed(membership.user_id)
    subject = f"user:{membership.user_id}"
    audit.record(action, by, subject, tenant_id=membership.tenant_id, reason=reason, client=client, **details)
