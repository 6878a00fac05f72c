"""Changes of what a user may do, each made by its verb and committed, and who a user is after them."""

from models.auth import authority, operators, service_account_catalogue, token_refresh
from models.auth.service_token_issuing import ServiceTokenRequest, issue
from models.auth.sessions import Session
from models.auth.users import Membership, User
from models.platform import authorization
from models.platform.database import transaction
from models.platform.principal import Principal, Root


def membership_of(user):
    return Membership.get(Membership.user == user.id)


def committed(verb, *args, **more):
    with transaction():
        return verb(*args, by=Root("test"), **more)


def change_role(user, role):
    committed(membership_of(user).change_role, role)


def remove(user):
    committed(membership_of(user).remove)


def disable(user):
    committed(User.get_by_id(user.id).disable, reason="test")


def end_sessions(user):
    with transaction():
        Session.revoke(Session.user_id == user.id, "test")


CHANGES = {
    "role": lambda user: change_role(user, "viewer"),
    "membership": remove,
    "status": disable,
    "session": end_sessions,
}


def principal(user):
    session = Session.get(Session.user_id == user.id)
    return authority.principal_of(
        {"sub": f"user:{user.id}", "tenant_id": str(session.tenant_id), "sid": str(session.id)}
    )


def issued(user, account="analytics-batch", scopes=("conversations:read",), *, elsewhere=False):
    """(headers of a machine, its refresh token), issued by a user of the tenant, or by an operator elsewhere."""
    membership = membership_of(user)
    authority_now = authority.Authority.of_member(membership.role, operators.scopes_of(user.id), email_verified=True)
    by = Principal(user.id, membership.tenant_id, membership.role, authority_now.scopes, None, True)
    if elsewhere:
        by = authorization.elsewhere(by, authorization.SERVICE_TOKEN_ISSUE, None, "a customer called")
    tenant_id = None if service_account_catalogue.catalogue()[account].tenant == "forbidden" else membership.tenant_id
    _, token = issue(ServiceTokenRequest(account, list(scopes), tenant_id and str(tenant_id)), by=by, reason="a test")
    return {"Authorization": f"Bearer {token_refresh.refresh(token).access_token}"}, token
