"""What the tests of accounts share besides fixtures. Models are imported late: they read the settings, which the fixtures make."""

from datetime import timedelta

PASSWORD = "correct horse battery"
NEW = "violet tractor umbrella"
WRONG = "a wrong password"
REUSED, WEAK = "Password was recently used.", "Password is too weak according to the current policy."
MALFORMED = {"confirm": "Password reset token is malformed.", "verify": "Verification token is malformed."}
INVALID = {
    "confirm": "Password reset token is invalid or expired.",
    "verify": "Verification token is invalid or expired.",
}


def add_user(email, password=PASSWORD, *, tenant, **more):
    """A user with any password, however weak: the product itself has no way around the policy."""
    from models.auth.passwords import hash_password
    from models.auth.users import User
    from models.platform.database import transaction

    with transaction():
        return User.add(email, hash_password(password), tenant=tenant, **more)


def told(answer):
    return answer.status_code, answer.json["message"]


def same(answer):
    """An answer without what differs between any two."""
    kept = {name: value for name, value in answer.headers.items() if name not in ("x-correlation-id", "x-process-time")}
    return answer.status_code, {**answer.json, "correlation_id": 0}, kept


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def fresh(user):
    from models.auth.users import User

    return User.get_by_id(user.id)


def is_locked(user):
    from models.platform.clock import now

    until = fresh(user).locked_until
    return until is not None and until > now()


def lock(user):
    from models.auth.users import User
    from models.platform.clock import now

    User.update(locked_until=now() + timedelta(minutes=5)).where(User.id == user.id).execute()


def join_another(user):
    from models.auth.tenants import Tenant
    from models.auth.users import Membership

    other = Tenant.create(slug="other", name="Other")
    Membership.create(user=user.id, tenant=other.id, role="member")
    return other


def count_events(action):
    from models.platform.audit import AuditEvent

    return AuditEvent.select().where(AuditEvent.action == action).count()


def refused_for_now(answer, quota):
    assert answer.status_code == 429 and answer.json["details"]["quota"] == quota
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    return True
