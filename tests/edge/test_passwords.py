"""Passwords over HTTP: proving, changing, resetting them; verifying an address; and what wrong ones lead to."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models import credentials, onetime, passwords, signin
from models.accounts import Membership, Tenant, User
from models.audit import AuditEvent
from models.base import database, now, release, transaction
from models.errors import Locked
from models.keys import Key, KeySet, keyset
from models.limits import QuotaExceeded
from models.origin import Origin
from models.principal import RANK
from models.sessions import RefreshToken, Session
from models.settings import settings
from models.signin import SignIn

PASSWORD = "correct horse battery"
NEW = "violet tractor umbrella"
WRONG = "a wrong password"
REUSED, WEAK = "Password was recently used.", "Password is too weak according to the current policy."
MALFORMED = {"confirm": "Password reset token is malformed.", "verify": "Verification token is malformed."}
INVALID = {
    "confirm": "Password reset token is invalid or expired.",
    "verify": "Verification token is invalid or expired.",
}
SECRET_FIELDS = ("password", "current_password", "new_password", "token", "refresh_token")

pytestmark = pytest.mark.usefixtures("cheap_hashing")


@pytest.fixture
def post(http):
    """post("password/forgot", headers, email=...) -> the answer, which no cache keeps and no secret comes back in."""

    def send(path, headers=None, **body):
        answer = http.simulate_post(f"/api/v1/auth/{path}", json=body, headers=headers)
        assert answer.headers["Cache-Control"] == "no-store"
        secrets = [body[name] for name in SECRET_FIELDS if len(body.get(name, "")) >= 8]
        assert not [secret for secret in secrets if secret in answer.text]
        return answer

    return send


@pytest.fixture
def user(tenant):
    return User.register("jo@example.com", PASSWORD, tenant=tenant, verified=True)


@pytest.fixture
def sign_in(post, user):
    return lambda password=PASSWORD, **more: post("token", **{"email": user.email, "password": password, **more})


@pytest.fixture
def confirm(post):
    return lambda token, new=NEW: post("password/confirm", token=token, new_password=new)


@pytest.fixture
def change(post):
    return lambda headers, new=NEW, current=PASSWORD: post(
        "password/change", headers, current_password=current, new_password=new
    )


@pytest.fixture
def reset(post):
    return lambda headers, user_id, new=NEW: post("password/reset", headers, user_id=str(user_id), new_password=new)


@pytest.fixture
def alive(http):
    """Whether an access token still opens anything."""
    return lambda headers: http.simulate_get("/api/v1/auth/me", headers=headers).status_code == 200


@pytest.fixture
def notices(jobs_named):
    return lambda: [(job.args["notice"], UUID(job.args["user_id"])) for job in jobs_named("mail.notice")]


def told(answer):
    return answer.status_code, answer.json["message"]


def same(answer):
    """An answer without what differs between any two."""
    kept = {name: value for name, value in answer.headers.items() if name not in ("x-correlation-id", "x-process-time")}
    return answer.status_code, {**answer.json, "correlation_id": 0}, kept


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def fresh(user):
    return User.get_by_id(user.id)


def is_locked(user):
    until = fresh(user).locked_until
    return until is not None and until > now()


def lock(user):
    User.update(locked_until=now() + timedelta(minutes=5)).where(User.id == user.id).execute()


def join_another(user):
    other = Tenant.create(slug="other", name="Other")
    Membership.create(user=user.id, tenant=other.id, role="member")
    return other


def count_events(action):
    return AuditEvent.select().where(AuditEvent.action == action).count()


def refused_for_now(answer, quota):
    assert answer.status_code == 429 and answer.json["details"]["quota"] == quota
    assert 0 < int(answer.headers["Retry-After"]) <= 3600
    return True


# ---------------------------------------------------------------- signing in


@pytest.mark.parametrize(
    ("account", "more", "status", "message"),
    [
        ({}, {"email": "nobody@example.com"}, 401, "Invalid email or password."),
        ({}, {"tenant_id": "nonsense"}, 401, "Invalid tenant identifier supplied."),
        ({}, {"tenant_id": str(uuid4())}, 401, "User is not a member of the requested tenant."),
        ({"status": "disabled"}, {}, 403, "User is disabled."),
        ({"status": "pending"}, {}, 403, "User is pending."),
        ({"locked_until": "2999-01-01T00:00:00Z"}, {}, 423, "Account is locked."),
    ],
)
def test_who_cannot_sign_in_hears_why_but_only_with_the_right_password(
    sign_in, user, post, account, more, status, message
):
    plain = same(post("token", email="somebody@example.com", password=WRONG))
    assert plain[0] == 401 and plain[1]["message"] == "Invalid email or password."
    if account:
        User.update(**account).execute()
    assert told(sign_in(**more)) == (status, message)
    assert same(sign_in(WRONG, **more)) == plain
    assert Session.select().count() == 0


def test_memberships_are_told_only_with_the_right_password(sign_in, user, tenant):
    other = join_another(user)
    plain = same(sign_in(WRONG))
    answer = sign_in()
    assert told(answer) == (400, "Tenant context required for multi-tenant users.")
    assert answer.json["details"]["tenants"] == sorted([str(tenant.id), str(other.id)])
    Membership.delete().execute()
    assert told(sign_in()) == (401, "User is not assigned to any tenant.")
    assert same(sign_in(WRONG)) == plain and plain[0] == 401


def test_a_busy_network_is_told_when_to_come_back_whoever_it_asks_for(sign_in, user, post, monkeypatch):
    monkeypatch.setattr(settings, "auth_ip_lockout_threshold", 3)
    for address in ("a@example.com", "b@example.com", user.email):
        assert post("token", email=address, password=WRONG).status_code == 401
    for answer in (sign_in(), post("token", email="c@example.com", password=WRONG)):
        assert told(answer) == (429, "Too many login attempts from this network segment.")
        assert 0 < int(answer.headers["Retry-After"]) <= 600
    assert fresh(user).failures == 1, "what was refused unread is not counted"


@pytest.mark.parametrize(
    ("used", "same_network", "elsewhere"),
    [
        (["203.0.113.7", "203.0.113.7"], "203.0.113.7", "198.51.100.7"),
        (["203.0.113.7", "203.0.113.8"], "203.0.113.9", "203.0.114.7"),
        (["2001:db8:1:2::1", "2001:db8:1:2:ffff::1"], "2001:db8:1:2:9::", "2001:db8:1:3::1"),
        (["::ffff:203.0.113.7", "203.0.113.8"], "::ffff:203.0.113.9", "::ffff:198.51.100.7"),
    ],
)
def test_failures_are_counted_by_the_network_that_one_party_owns(user, monkeypatch, used, same_network, elsewhere):
    monkeypatch.setattr(settings, "auth_ip_lockout_threshold", 2)
    for ip in used:
        with pytest.raises(credentials.InvalidCredentials):
            credentials.authenticate("nobody@example.com", WRONG, origin=Origin(ip))
    with pytest.raises(QuotaExceeded):
        credentials.authenticate(user.email, PASSWORD, origin=Origin(same_network))
    assert credentials.authenticate(user.email, PASSWORD, origin=Origin(elsewhere)).id == user.id


def test_right_passwords_do_not_make_a_network_busy(sign_in, monkeypatch):
    monkeypatch.setattr(settings, "auth_ip_lockout_threshold", 2)
    assert [sign_in().status_code for _ in range(4)] == [200] * 4


@pytest.mark.parametrize("seam", [(passwords, "verify"), (signin, "_membership")], ids=["verifying", "opening"])
def test_a_password_that_is_changed_during_a_sign_in_opens_no_session(sign_in, user, monkeypatch, seam):
    module, name = seam
    real = getattr(module, name)

    def overtaken(*args):
        answer = real(*args)
        with transaction():
            credentials.set_password(fresh(user), passwords.hash_password(NEW), "password_change", by="test")
        return answer

    monkeypatch.setattr(module, name, overtaken)
    assert told(sign_in()) == (401, "Invalid email or password.")
    assert Session.select().where(Session.revoked_at.is_null()).count() == 0


# ---------------------------------------------------------------- refreshing


def forged(claims, **changes):
    return keyset().sign({name: value for name, value in {**claims, **changes}.items() if value is not None})


def stranger_key(claims):
    return KeySet([Key("ed25519-stranger", Ed25519PrivateKey.generate(), now())]).sign(claims)


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (lambda claims: "a.b.c", "Refresh token verification failed."),
        (stranger_key, "Refresh token verification failed."),
        (lambda claims: forged(claims, exp=claims["iat"] - 60), "Refresh token verification failed."),
        (lambda claims: forged(claims, token_use="access"), "Token is not a refresh token."),
        (lambda claims: forged(claims, sub="robot:x"), "Refresh token subject is malformed."),
        (lambda claims: forged(claims, jti=None), "Refresh token missing jti claim."),
        (lambda claims: forged(claims, jti=str(uuid4())), "Refresh token has been revoked or expired."),
        (lambda claims: forged(claims, scope="support:*"), "Refresh token has been revoked or expired."),
    ],
)
def test_a_refresh_token_that_we_did_not_give_out_is_refused(sign_in, post, forge, message):
    token = sign_in().json["refresh_token"]
    assert told(post("refresh", refresh_token=forge(keyset().verify(token)))) == (401, message)
    assert post("refresh", refresh_token=token).status_code == 200


@pytest.mark.parametrize("end", ["session", "token", "expiry", "user"])
def test_a_refresh_token_that_has_ended_is_refused(sign_in, post, user, end):
    token = sign_in().json["refresh_token"]
    if end == "session":
        Session.update(revoked_at=now()).execute()
    elif end == "token":
        RefreshToken.update(revoked_at=now(), revoked_reason="user_logout").execute()
    elif end == "expiry":
        RefreshToken.update(expires_at=now()).execute()
    else:
        user.delete_instance()
    assert told(post("refresh", refresh_token=token)) == (401, "Refresh token has been revoked or expired.")


@pytest.mark.parametrize(
    ("account", "status", "message"),
    [
        ({"status": "disabled"}, 403, "User is disabled."),
        ({"status": "pending"}, 403, "User is pending."),
        ({"locked_until": "2999-01-01T00:00:00Z"}, 423, "Account is locked."),
        (None, 401, "User is not a member of the requested tenant."),
    ],
)
def test_a_refusal_for_the_accounts_sake_does_not_cost_the_session(
    sign_in, post, user, tenant, account, status, message
):
    token = sign_in().json["refresh_token"]
    if account:
        User.update(**account).execute()
    else:
        Membership.delete().execute()
    assert told(post("refresh", refresh_token=token)) == (status, message)
    User.update(status="active", locked_until=None).execute()
    Membership.get_or_create(user=user.id, tenant=tenant.id, defaults={"role": "viewer"})
    assert post("refresh", refresh_token=token).status_code == 200


def test_a_refresh_and_the_end_of_all_sessions_do_not_stop_each_other(user, monkeypatch):
    tokens = SignIn.with_password(user.email, PASSWORD)
    release()
    waiting = "select count(*) from pg_locks where not granted"
    lock, pool = RefreshToken.lock, ThreadPoolExecutor(1)

    def end_all():
        try:
            with transaction():
                return Session.revoke(Session.user == user.id, "password_change")
        finally:
            release()

    def overtaken(jti):  # the session is locked already
        ending.append(pool.submit(end_all))
        while not ending[0].done() and not database.execute_sql(waiting).fetchone()[0]:
            pass
        return lock(jti)

    ending: list = []
    monkeypatch.setattr(RefreshToken, "lock", overtaken)
    renewed = SignIn.with_refresh_token(tokens.refresh_token)
    assert ending[0].result(5)[0] == [renewed.session_id]
    assert RefreshToken.select().where(RefreshToken.revoked_at.is_null()).count() == 0


# ---------------------------------------------------------------- changing


def test_a_changed_password_ends_every_session_and_is_noticed(sign_in, change, post, alive, user, notices):
    here, there = sign_in().json, sign_in().json
    assert told(change(bearer(here))) == (200, "Password updated successfully")
    assert not alive(bearer(here)) and not alive(bearer(there))
    assert post("refresh", refresh_token=there["refresh_token"]).status_code == 401
    assert (sign_in().status_code, sign_in(NEW).status_code) == (401, 200)
    assert notices() == [("password_changed", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_change")
    assert (event.actor, event.subject, event.ip) == (f"user:{user.id}", f"user:{user.id}", "127.0.0.1")


def test_without_the_current_password_none_is_changed_and_guessing_locks(sign_in, change, user, alive, notices):
    tokens = sign_in().json
    for failures in (1, 2, 3, 4):
        assert told(change(bearer(tokens), current=WRONG)) == (401, "Invalid current password.")
        assert fresh(user).failures == failures
    assert told(change(bearer(tokens), current=WRONG)) == (401, "Invalid current password.")
    assert is_locked(user) and notices() == [("account_locked", user.id)]
    assert told(change(bearer(tokens))) == (423, "Account is locked.")
    assert alive(bearer(tokens)), "whoever guesses cannot throw the owner out"
    assert fresh(user).password_hash == user.password_hash


@pytest.mark.parametrize(
    ("new", "status", "message"),
    [
        (PASSWORD, 400, REUSED),
        ("kV7$wq!Zp2Xr9", 422, "Request validation failed."),
        ("violettractorumbrella", 400, "Password must include at least two categories (upper, lower, digit, symbol)."),
        ("Password123456789", 400, WEAK),
        ("jo@example.com", 400, WEAK),
        (NEW * 500, 400, "Password must be at most 256 characters long."),
    ],
)
def test_a_new_password_that_may_not_be_chosen_changes_nothing(
    sign_in, change, alive, user, notices, new, status, message
):
    headers = bearer(sign_in().json)
    assert told(change(headers, new)) == (status, message)
    assert alive(headers) and fresh(user).password_hash == user.password_hash and notices() == []


def test_who_has_not_verified_their_address_may_change_their_password(signed, change, alive):
    headers, _ = signed(verified=False)
    assert change(headers).status_code == 200
    assert not alive(headers)


def test_a_user_who_is_gone_changes_nothing(signed, change, alive):
    headers, user = signed()
    assert alive(headers)
    user.delete_instance()
    assert told(change(headers)) == (401, "Unknown user.")


def test_a_change_that_another_one_overtook_is_a_conflict(sign_in, change, alive, user, notices, monkeypatch):
    headers, choose = bearer(sign_in().json), credentials.choose

    def overtaken(*args):
        chosen = choose(*args)
        User.update(password_hash="another one").execute()
        return chosen

    monkeypatch.setattr(credentials, "choose", overtaken)
    answer = change(headers)
    assert (answer.status_code, answer.json["error"]) == (409, "password_changed_meanwhile")
    assert fresh(user).password_hash == "another one" and alive(headers) and notices() == []


# ---------------------------------------------------------------- an admin's reset


@pytest.mark.parametrize("caller", RANK)
@pytest.mark.parametrize("target", RANK)
def test_a_password_is_set_only_by_admins_and_only_below_them(signed, reset, caller, target):
    (headers, _), (_, user) = signed(caller), signed(target)
    allowed = RANK[caller] >= RANK["admin"] and RANK[caller] > RANK[target]
    assert reset(headers, user.id).status_code == (200 if allowed else 403)
    assert passwords.matches(fresh(user).password_hash, NEW if allowed else PASSWORD)


def test_a_reset_by_an_admin_ends_the_users_sessions_and_lock_and_is_noticed(signed, reset, alive, sign_in, notices):
    (admin, me), (theirs, user) = signed("admin"), signed()
    lock(user)
    assert told(reset(admin, user.id)) == (200, "Password reset successfully")
    assert alive(admin) and not alive(theirs)
    assert sign_in(NEW, email=user.email).status_code == 200
    assert notices() == [("password_reset", user.id)]
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.password_reset")
    assert (event.actor, event.subject) == (f"user:{me.id}", f"user:{user.id}")


def test_nobody_sets_their_own_password_without_the_old_one(signed, reset):
    headers, me = signed("owner")
    assert reset(headers, me.id).status_code == 403


def test_an_owner_who_acts_as_an_admin_may_do_no_more_than_an_admin(signed, reset):
    (owner, _), (_, admin) = signed("owner"), signed("admin")
    assert reset({**owner, "X-Tenant-Role": "admin"}, admin.id).status_code == 403


def test_users_of_other_tenants_are_unknown_to_an_admin(signed, reset):
    headers, _ = signed("owner")
    _, stranger = signed(tenant=Tenant.create(slug="other", name="Other"))
    nobody = reset(headers, uuid4())
    assert told(nobody) == (404, "Unknown user.")
    assert same(reset(headers, stranger.id)) == same(nobody)
    assert fresh(stranger).password_hash == stranger.password_hash


def test_who_belongs_to_other_tenants_too_is_not_in_one_admins_hands(signed, reset, alive):
    (admin, _), (theirs, user) = signed("owner"), signed()
    join_another(user)
    answer = reset(admin, user.id)
    assert (answer.status_code, answer.json["error"]) == (403, "reset_not_allowed")
    assert alive(theirs) and fresh(user).password_hash == user.password_hash


def test_an_admin_with_an_unverified_address_sets_no_password(signed, reset):
    (admin, _), (_, user) = signed("admin", verified=False), signed()
    assert told(reset(admin, user.id)) == (403, "Email verification required.")


@pytest.mark.parametrize(("new", "message"), [(PASSWORD, REUSED), ("Password123456789", WEAK)])
def test_the_rules_for_passwords_bind_admins_too(signed, reset, alive, new, message):
    (admin, _), (theirs, user) = signed("admin"), signed()
    assert told(reset(admin, user.id, new)) == (400, message)
    assert alive(theirs)


# ---------------------------------------------------------------- a reset by mail


def test_a_known_and_an_unknown_address_make_the_same_answer_and_the_same_work(post, user, jobs_named):
    answers = [same(post("password/forgot", email=" Nobody@example.com "))]
    answers += [same(post("password/forgot", email=user.email.upper()))]
    User.update(status="disabled").execute()
    answers += [same(post("password/forgot", email=user.email))]
    assert answers == [answers[0]] * 3 and answers[0][0] == 202
    assert answers[0][1]["message"] == "If the account exists, password reset instructions have been sent."
    assert [job.args for job in jobs_named("mail.reset")] == [
        {"email": "nobody@example.com"},
        {"email": "jo@example.com"},
        {"email": "jo@example.com"},
    ]
    assert onetime.OneTimeToken.select().count() == 0, "the request itself makes no token"


def test_an_address_is_mailed_only_so_often_however_it_is_spelled(post, user, jobs_named):
    for spelled in ("jo@example.com", "JO@example.com", "jo@EXAMPLE.com", " jo@example.com", "Jo@example.com"):
        assert post("password/forgot", email=spelled).status_code == 202
    assert refused_for_now(post("password/forgot", email="jo@example.com"), "password_reset_email")
    assert len(jobs_named("mail.reset")) == 5
    assert post("password/forgot", email="al@example.com").status_code == 202


def test_one_network_asks_for_only_so_many_mails(post, jobs_named, monkeypatch):
    monkeypatch.setattr(settings, "password_reset_ip_rate_limit_per_hour", 2)
    for address in ("a@example.com", "b@example.com"):
        assert post("password/forgot", email=address).status_code == 202
    assert refused_for_now(post("password/forgot", email="c@example.com"), "password_reset_ip")
    assert len(jobs_named("mail.reset")) == 2


@pytest.mark.parametrize(
    "address", ["jo", "jo@example.com\r\nBcc: eve@example.com", "jo@example.com, eve@example.com", "jo@exa\nmple.com"]
)
def test_what_is_not_one_address_is_refused(post, jobs_named, address):
    assert post("password/forgot", email=address).status_code == 422
    assert jobs_named("mail.reset") == []


def test_a_mailed_token_sets_a_password_ends_all_sessions_and_the_lock(
    sign_in, confirm, post, alive, user, notices, tenant
):
    tokens = sign_in().json
    User.update(failures=3, failed_at=now()).execute()
    lock(user)
    answer = confirm(onetime.mint(user.id, onetime.RESET_PASSWORD, 30))
    assert told(answer) == (200, "Password has been reset successfully.") and answer.json["data"] is None
    assert not alive(bearer(tokens)) and not is_locked(user) and fresh(user).failures == 0
    assert post("refresh", refresh_token=tokens["refresh_token"]).status_code == 401
    assert (sign_in().status_code, sign_in(NEW).status_code) == (401, 200)
    assert notices() == [("password_changed", user.id)]
    assert count_events("auth.password_reset_token") == 1


USES = {
    "confirm": (onetime.RESET_PASSWORD, lambda post, token: post("password/confirm", token=token, new_password=NEW)),
    "verify": (onetime.VERIFY_EMAIL, lambda post, token: post("email/verify", token=token)),
}
every_use = pytest.mark.parametrize("use", USES)


@every_use
@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: "x",
        lambda token: ".",
        lambda token: token.partition(".")[0],
        lambda token: f"{token}0",
        lambda token: token[:-1],
        lambda token: token[1:],
        lambda token: f"zz{token[2:]}",
        lambda token: f" {token}",
    ],
)
def test_a_malformed_token_is_refused_and_spoils_nothing(post, user, use, spoil):
    purpose, redeem = USES[use]
    token = onetime.mint(user.id, purpose, 30)
    assert told(redeem(post, spoil(token))) == (400, MALFORMED[use])
    assert redeem(post, token).status_code == 200


@every_use
@pytest.mark.parametrize("flaw", ["unknown", "other secret", "expired", "other purpose", "user gone", "used"])
def test_a_token_that_is_not_good_is_refused_whatever_is_wrong_with_it(post, user, use, flaw):
    purpose, redeem = USES[use]
    others = {onetime.VERIFY_EMAIL: onetime.RESET_PASSWORD, onetime.RESET_PASSWORD: onetime.VERIFY_EMAIL}
    token = onetime.mint(user.id, others[purpose] if flaw == "other purpose" else purpose, 30)
    if flaw == "unknown":
        token = f"{uuid4().hex}.{token.partition('.')[2]}"
    elif flaw == "other secret":
        token = f"{token[:-1]}{'0' if token[-1] != '0' else '1'}"
    elif flaw == "expired":
        onetime.OneTimeToken.update(expires_at=now()).execute()
    elif flaw == "user gone":
        user.delete_instance()
    elif flaw == "used":
        assert redeem(post, token).status_code == 200
    before = User.select(User.password_hash, User.email_verified_at).tuples().execute()[:]
    assert told(redeem(post, token)) == (400, INVALID[use])
    assert User.select(User.password_hash, User.email_verified_at).tuples().execute()[:] == before


def test_a_token_of_one_purpose_stays_good_after_it_was_tried_for_the_other(post, user):
    token = onetime.mint(user.id, onetime.RESET_PASSWORD, 30)
    assert USES["verify"][1](post, token).status_code == 400
    assert USES["confirm"][1](post, token).status_code == 200


@pytest.mark.parametrize(
    ("new", "status", "message"),
    [
        ("short", 422, "Request validation failed."),
        ("Password123456789", 422, "Request validation failed."),
        (NEW * 500, 422, "Request validation failed."),
        ("jo.zweigelt.kuss@example.com", 422, "Request validation failed."),
        (PASSWORD, 400, REUSED),
    ],
)
def test_a_refused_password_does_not_use_the_token_up(confirm, user, new, status, message):
    User.update(email="jo.zweigelt.kuss@example.com").execute()
    token = onetime.mint(user.id, onetime.RESET_PASSWORD, 30)
    assert told(confirm(token, new)) == (status, message)
    assert confirm(token).status_code == 200


def test_the_reason_why_a_password_is_refused_is_told_with_the_field(confirm, user):
    answer = confirm(onetime.mint(user.id, onetime.RESET_PASSWORD, 30), "Password123456789")
    assert answer.json["details"] == [{"loc": ["body", "new_password"], "msg": WEAK, "type": "password_refused"}]


def test_a_newer_token_and_a_reset_make_the_others_void(confirm, user, monkeypatch):
    first = onetime.mint(user.id, onetime.RESET_PASSWORD, 30)
    second = onetime.mint(user.id, onetime.RESET_PASSWORD, 30)
    assert confirm(first).status_code == 400
    with monkeypatch.context() as patch:  # two that were made at the same moment
        patch.setattr(onetime, "revoke", lambda *args: None)
        third = onetime.mint(user.id, onetime.RESET_PASSWORD, 30)
    verification = onetime.mint(user.id, onetime.VERIFY_EMAIL, 30)
    assert confirm(second).status_code == 200
    assert confirm(third, f"{NEW} 2").status_code == 400
    assert credentials.verify_email(verification).id == user.id


@every_use
def test_of_many_uses_of_a_token_at_once_one_succeeds(post, user, use):
    purpose, redeem = USES[use]
    token = onetime.mint(user.id, purpose, 30)
    release()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: redeem(post, token).status_code, range(6)))
    assert sorted(answers) == [200] + [400] * 5


# ---------------------------------------------------------------- verifying an address


def test_a_verification_mail_is_asked_for_only_so_often(signed, post, jobs_named):
    headers, user = signed(verified=False)
    for _ in range(3):
        answer = post("email/send", headers)
        assert told(answer) == (202, "Verification email sent.") and answer.json["data"] == {"email_verified": False}
    assert refused_for_now(post("email/send", headers), "email_verify_user")
    assert [job.args for job in jobs_named("mail.verify")] == [{"user_id": str(user.id)}] * 3


def test_one_network_asks_for_only_so_many_verification_mails(signed, post, monkeypatch):
    monkeypatch.setattr(settings, "email_verification_ip_rate_limit_per_hour", 2)
    answers = [post("email/send", signed(verified=False)[0]) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [202, 202]
    assert refused_for_now(answers[2], "email_verify_ip")


@pytest.mark.parametrize("verified", [True, False], ids=["by the token", "since the token"])
def test_a_verified_address_is_sent_nothing_and_no_quota_is_used(signed, post, jobs_named, verified):
    headers, user = signed(verified=verified)
    User.update(email_verified_at=now()).execute()
    for _ in range(4):
        answer = post("email/send", headers)
        assert told(answer) == (202, "Email already verified.") and answer.json["data"] == {"email_verified": True}
    assert jobs_named("mail.verify") == []


@pytest.mark.parametrize(("before", "after"), [("pending", "active"), ("active", "active"), ("disabled", "disabled")])
def test_verifying_an_address_ends_the_sessions_that_do_not_know_of_it(signed, post, alive, sign_in, before, after):
    headers, user = signed(verified=False)
    User.update(status=before).where(User.id == user.id).execute()
    answer = post("email/verify", token=onetime.mint(user.id, onetime.VERIFY_EMAIL, 60))
    assert told(answer) == (200, "Email verified successfully.") and answer.json["data"] is None
    assert not alive(headers)
    assert fresh(user).email_verified_at is not None and fresh(user).status == after
    assert count_events("auth.email_verified") == 1
    if after == "active":
        assert sign_in(email=user.email).json["email_verified"] is True


# ---------------------------------------------------------------- lockout


def test_the_fifth_wrong_password_locks_and_only_the_right_one_hears_of_it(sign_in, user, post, notices):
    plain = same(post("token", email="nobody@example.com", password=WRONG))
    assert [same(sign_in(WRONG)) for _ in range(4)] == [plain] * 4
    assert not is_locked(user) and notices() == []
    assert [same(sign_in(WRONG)) for _ in range(3)] == [plain] * 3
    assert told(sign_in()) == (423, "Account is locked.")
    assert count_events("auth.account_locked") == 1
    assert notices() == [("account_locked", user.id)]


def test_after_the_end_of_a_lock_the_right_password_works_and_counting_begins_anew(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    remaining = fresh(user).locked_until - now()
    assert timedelta(minutes=59) < remaining <= timedelta(minutes=60)
    User.update(locked_until=now()).execute()
    for _ in range(4):
        assert sign_in(WRONG).status_code == 401
    assert sign_in().status_code == 200
    assert (fresh(user).failures, fresh(user).locked_until) == (0, None)


def test_wrong_passwords_do_not_prolong_a_lock(sign_in, user):
    for _ in range(5):
        sign_in(WRONG)
    until = fresh(user).locked_until
    for _ in range(6):
        assert sign_in(WRONG).status_code == 401
    assert fresh(user).locked_until == until


def test_a_right_password_makes_the_wrong_ones_before_it_forgotten(sign_in, user):
    for _ in range(2):
        for _ in range(4):
            sign_in(WRONG)
        assert sign_in().status_code == 200
    assert fresh(user).failures == 0


@pytest.mark.parametrize(("minutes", "locks"), [(59, True), (61, False)])
def test_failures_count_as_long_as_the_window_since_the_last_one(sign_in, user, minutes, locks):
    for _ in range(4):
        sign_in(WRONG)
    User.update(failed_at=now() - timedelta(minutes=minutes)).execute()
    sign_in(WRONG)
    assert is_locked(user) == locks
    assert fresh(user).failures == (0 if locks else 1)


def test_a_threshold_of_zero_never_locks(sign_in, user, monkeypatch):
    monkeypatch.setattr(settings, "auth_lockout_threshold", 0)
    for _ in range(7):
        sign_in(WRONG)
    assert sign_in().status_code == 200


def test_ones_wrong_passwords_do_not_lock_another(sign_in, user, tenant):
    other = User.register("al@example.com", PASSWORD, tenant=tenant)
    for _ in range(5):
        sign_in(WRONG)
    assert is_locked(user) and not is_locked(other)
    assert sign_in(email=other.email).status_code == 200


@pytest.fixture
def all_at_once(user, monkeypatch):
    """all_at_once(passwords) -> their outcomes, where every one is judged before any is counted."""

    def make(given):
        release()
        verify, start = passwords.verify, threading.Barrier(len(given))

        def judged(*args):
            answer = verify(*args)
            start.wait(10)
            return answer

        def attempt(password):
            try:
                return credentials.authenticate(user.email, password)
            except Exception as error:
                return error
            finally:
                release()

        with monkeypatch.context() as patch, ThreadPoolExecutor(len(given)) as pool:
            patch.setattr(passwords, "verify", judged)
            return list(pool.map(attempt, given))

    return make


def test_of_many_wrong_passwords_at_once_exactly_one_locks(all_at_once, user):
    outcomes = all_at_once([WRONG] * 12)
    assert {type(one) for one in outcomes} == {credentials.InvalidCredentials}
    assert [one.locked for one in outcomes if one.locked] == [user.id]
    assert (count_events("auth.account_locked"), count_events("auth.sign_in_failed")) == (1, 11)
    assert is_locked(user) and fresh(user).failures == 0


@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_right_password_among_many_wrong_ones_leaves_no_account_open_to_guessing(all_at_once, user, place):
    given = [WRONG] * 19
    given.insert(place, PASSWORD)
    right = all_at_once(given)[place]
    assert isinstance(right, User | Locked)
    # Wherever the right one came in: before it or after it at least five wrong ones were counted in a row.
    assert is_locked(user) and fresh(user).failures < settings.auth_lockout_threshold
    assert count_events("auth.account_locked") == 1
