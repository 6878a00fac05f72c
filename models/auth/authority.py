"""What the holder of a token may do now. The token says who they are and which session it belongs to; role, scopes and
verified address are what Postgres says, not older than LIFE_SECONDS (docs/decisions/0010-the-authority-of-a-session.md).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from models.auth import authority_cache
from models.auth.service_account_catalogue import catalogue
from models.platform.authorization import SERVICE_TOKEN_ISSUE, Rights, can_act_elsewhere, elsewhere, may
from models.platform.database import database, in_transaction
from models.platform.errors import NotAuthenticated
from models.platform.ids import parse_uuid
from models.platform.principal import RANK, Principal, scopes_for

ALIASES = {"editor": "member"}  # other names of roles
ENDED = b"ended"
MACHINE = "viewer"  # the role of service accounts, which count for nothing there
# A session rests on its user, a service token on the user who issued it: on their status, grants and membership in the
# tenant. A token that a deployment issued with a signed request rests on nobody.
HOLDERS = """
with holder as (
    select id, tenant_id, user_id, null as account, null as scopes, true as by_user
    from session where id = {which} and revoked_at is null
    union all
    select id, tenant_id, issuer_id, account, scopes, issued_by like 'user:%'
    from service_token where id = {which} and revoked_at is null
)
select holder.*, role, email_verified_at is not null,
    array(select scope from operator_grant where operator_grant.user_id = users.id)
from holder
left join users on users.id = holder.user_id and status = 'active'
left join membership on membership.user_id = users.id and membership.tenant_id = holder.tenant_id"""
ONE = HOLDERS.format(which="%(id)s")  # Postgres keeps its plan; that of `any` it makes again each time
MANY = HOLDERS.format(which="any(%(ids)s)")
RESTING_ON_USER = """
select id from session where user_id = %(user_id)s and revoked_at is null
union all
select id from service_token where issuer_id = %(user_id)s and revoked_at is null"""


class SessionEnded(NotAuthenticated):
    message = "The session has ended. Sign in again."


class ServiceTokenEnded(NotAuthenticated):
    message = "The service token has ended, or who issued it has lost the right to."


class InvalidSubject(NotAuthenticated):
    message = "Token subject must reference a user account."


@dataclass(frozen=True, slots=True)
class Authority:
    """The rights of a member of a tenant, or of a service account."""

    role: str
    scopes: frozenset[str]
    email_verified: bool

    @classmethod
    def of_member(cls, role: str, grants: Iterable[str], *, email_verified: bool) -> "Authority":
        """Operator grants count only while the address is verified."""
        role = ALIASES.get(role.lower(), role.lower())
        scopes = frozenset(scopes_for(role)) | _grants(grants, email_verified)
        return cls(role if role in RANK else "viewer", scopes, email_verified)

    def to_text(self) -> bytes:
        return " ".join([self.role, str(int(self.email_verified)), *sorted(self.scopes)]).encode()

    def limit(self, principal: Principal) -> Principal:
        """The principal with no more than these rights. The role of an operator who acts elsewhere comes with the grant."""
        role = principal.role if principal.override else min(principal.role, self.role, key=RANK.__getitem__)
        verified = principal.email_verified and self.email_verified
        return replace(principal, role=role, scopes=principal.scopes & self.scopes, email_verified=verified)


def principal_of(claims: dict[str, Any]) -> Principal:
    """Who an access token belongs to, with what they may do now. Raises NotAuthenticated if that is nothing."""
    kind, _, name = str(claims.get("sub")).partition(":")
    user_id, tenant_id, session_id = map(parse_uuid, (name, claims.get("tenant_id"), claims.get("sid")))
    is_user = kind == "user" and user_id is not None and tenant_id is not None
    if not is_user and (kind != "service-account" or not name):
        raise InvalidSubject()
    authority = _cached(session_id)
    if authority is None:
        raise SessionEnded() if is_user else ServiceTokenEnded()
    return Principal(
        user_id if is_user else None,
        tenant_id,
        authority.role,
        authority.scopes,
        session_id,
        authority.email_verified,
        account=None if is_user else name,
    )


def look_up(holder_ids: Iterable[UUID]) -> dict[UUID, Authority]:
    """What the holders of these sessions and service tokens may do now, from Postgres. Those that have ended are left out."""
    rows = database.execute_prepared(MANY, {"ids": list(holder_ids)}).fetchall()
    found = {row[0]: _authority(_Holder(*row)) for row in rows}
    return {holder_id: authority for holder_id, authority in found.items() if authority}


def look_up_one(holder_id: UUID) -> Authority | None:
    """Like `look_up`, for one session or service token."""
    row = database.execute_prepared(ONE, {"id": holder_id}).fetchone()
    return _authority(_Holder(*row)) if row else None


@in_transaction
def changed(user_id: UUID) -> None:
    """Make a change of a user's status, membership, grants or address count as soon as the transaction has committed."""
    rows = database.execute_prepared(RESTING_ON_USER, {"user_id": user_id}).fetchall()
    authority_cache.forget(holder_id for (holder_id,) in rows)


class _Holder(NamedTuple):
    """A session or service token, with what the user whom it rests on has in its tenant: nothing if there is no such user."""

    id: UUID
    tenant_id: UUID | None
    user_id: UUID | None
    account: str | None
    scopes: list[str] | None
    by_user: bool
    role: str | None
    email_verified: bool
    grants: list[str]


def _authority(holder: _Holder) -> Authority | None:
    if holder.account is not None:
        return _of_machine(holder.account, holder)
    if holder.role is None:
        return None
    return Authority.of_member(holder.role, holder.grants, email_verified=holder.email_verified)


def _of_machine(account: str, token: _Holder) -> Authority | None:
    """The token's scopes that the catalogue still gives the account, and that its issuer could still give it."""
    entry = catalogue().get(account)
    scopes = frozenset(token.scopes or ()).intersection(entry.scopes if entry else ())
    if token.by_user:
        scopes = _that_issuer_may_give(scopes, token)
    return Authority(MACHINE, scopes, True) if scopes else None


def _that_issuer_may_give(scopes: frozenset[str], token: _Holder) -> frozenset[str]:
    """Those that the issuer may give now: as an admin of the tenant, or as an operator elsewhere."""
    issuers = _issuers(token)
    return frozenset(
        scope
        for scope in scopes
        if any(may(issuer, SERVICE_TOKEN_ISSUE, Rights(token.tenant_id, frozenset({scope}))) for issuer in issuers)
    )


def _issuers(token: _Holder) -> list[Principal]:
    """The issuer as a member of the tenant, and as an operator who acts in all of them; empty for neither."""
    grants, verified = _grants(token.grants, token.email_verified), token.email_verified
    operator = Principal(token.user_id, None, scopes=grants, email_verified=verified)
    issuers = []
    if can_act_elsewhere(operator, SERVICE_TOKEN_ISSUE):
        issuers.append(elsewhere(operator, SERVICE_TOKEN_ISSUE, None, "issued a service token"))
    if token.role is not None:
        member = Authority.of_member(token.role, grants, email_verified=verified)
        issuers.append(Principal(token.user_id, token.tenant_id, member.role, member.scopes, None, verified))
    return issuers


def _grants(grants: Iterable[str], email_verified: bool) -> frozenset[str]:
    return frozenset(grants if email_verified else ())


def _cached(holder_id: UUID | None) -> Authority | None:
    return _parse(authority_cache.load(holder_id, _read)) if holder_id else None


def _read(holder_id: UUID) -> bytes:
    authority = look_up_one(holder_id)
    return authority.to_text() if authority else ENDED


@lru_cache(maxsize=1024)  # most users have one of a few sets of rights
def _parse(text: bytes) -> Authority | None:
    if text == ENDED:
        return None
    role, verified, *scopes = text.decode().split(" ")
    return Authority(role, frozenset(scopes), verified == "1")
