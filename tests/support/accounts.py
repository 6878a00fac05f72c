"""Helpers for tests of accounts. Models are imported inside the functions: importing them reads the settings, and
`pytest_configure` has to set those first.
"""

from models.auth.password_hashing import PasswordHasher

CHEAP = {"time_cost": 1, "memory_cost": 8, "parallelism": 1}
CHEAP_HASHER = PasswordHasher(**CHEAP)

PASSWORD = "correct horse battery"
NEW = "violet tractor umbrella"
WRONG = "a wrong password"
REUSED, WEAK = "Password was recently used.", "Password is too weak according to the current policy."
MALFORMED = {"confirm": "Password reset token is malformed.", "verify": "Verification token is malformed."}
INVALID = {
    "confirm": "Password reset token is invalid or expired.",
    "verify": "Verification token is invalid or expired.",
}


class InterruptedHasher(PasswordHasher):
    """A cheap hasher that lets a test act while a password is hashed or after one was verified.

    `before_hash(password)` is called before each new hash, `after_verify()` after each check of a login's password.
    """

    def __init__(self, *, before_hash=lambda password: None, after_verify=lambda: None):
        super().__init__(**CHEAP)
        self.before_hash, self.after_verify = before_hash, after_verify

    def hash(self, password):
        self.before_hash(password)
        return super().hash(password)

    def verify(self, password_hash, password):
        matches = super().verify(password_hash, password)
        self.after_verify()
        return matches


def add_user(email, password=PASSWORD, *, tenant, **more):
    """A user with any password, however weak: the product itself always applies the policy."""
    from models.auth.users import User
    from models.platform.database import transaction

    with transaction():
        return User.add(email, CHEAP_HASHER.hash(password), tenant=tenant, **more)


def authenticate(email, password, *, hasher=CHEAP_HASHER, **more):
    from models.auth import password_login

    return password_login.authenticate(email, password, hasher=hasher, **more)


def log_in(email, password=PASSWORD, *, hasher=CHEAP_HASHER):
    from models.auth import password_login

    return password_login.log_in(email, password, hasher=hasher)


def set_password(user, password_hash):
    """Store a hash as a password change does, in a transaction of its own."""
    from models.auth import password_changes
    from models.platform.database import transaction
    from models.platform.principal import Root

    with transaction():
        password_changes.set_password(user, password_hash, "password_change", by=Root("test"))


def status_and_message(answer):
    """(status, message) of an HTTP answer."""
    return answer.status_code, answer.json["message"]


def comparable(answer):
    """An answer without the parts that differ between any two answers."""
    unique = ("x-correlation-id", "x-process-time")
    headers = {name: value for name, value in answer.headers.items() if name not in unique}
    return answer.status_code, {**answer.json, "correlation_id": 0}, headers


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def reloaded(user):
    """The user as the database has them now."""
    from models.auth.users import User

    return User.get_by_id(user.id)


def failures(user):
    """The wrong passwords that count against the user's address."""
    from models.auth.lockout import address_budget
    from models.platform.redis import redis_client

    return int(redis_client().hget(address_budget(user.email).redis_key, "spent") or 0)


def is_open(holder_id):
    """Whether access tokens of this session or service token are accepted."""
    from models.auth import authority
    from models.platform.ids import parse_uuid

    return authority.look_up_one(parse_uuid(holder_id)) is not None


def is_locked(user):
    from models.platform.settings import settings

    return failures(user) >= settings.auth_lockout_threshold


def lock(user):
    """Lock the account for unknown devices, as five wrong passwords of strangers do."""
    from models.auth.lockout import address_budget
    from models.platform.attempts import attempt

    for _ in range(5):
        with attempt([address_budget(user.email)]) as taken:
            taken.spend()


def let_pass(user, seconds):
    """Let the window of the user's address get older by this many seconds."""
    from models.auth.lockout import address_budget
    from models.platform.redis import redis_client

    key = address_budget(user.email).redis_key
    redis_client().expire(key, redis_client().ttl(key) - seconds)


def join_another(user):
    from models.auth.tenants import Tenant
    from models.auth.users import Membership
    from models.platform.database import transaction
    from models.platform.principal import Root

    other = Tenant.create(slug="other", name="Other")
    with transaction():
        Membership.add(user.id, other.id, "member", by=Root("test"))
    return other


def count_events(action):
    from models.platform.audit import AuditEvent

    return AuditEvent.select().where(AuditEvent.action == action).count()


def is_rate_limited(answer, quota):
    """Assert that the answer is 429 for this quota, and says when to try again."""
    assert answer.status_code == 429 and answer.json["details"]["quota"] == quota
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    return True
