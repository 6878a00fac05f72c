"""Guessing passwords and locking accounts: crowds of guesses, locks and quotas as weapons, and refreshes that meet."""

import falcon.testing
import pytest

from models.auth import email_tokens
from models.auth.users import User
from models.platform.database import release
from models.platform.principal import Root
from tests.support.accounts import NEW, PASSWORD, WRONG, add_user, comparable, count_events
from tests.support.crowd import CountingHasher, crowd

STRANGER, VICTIM = "203.0.113.7", "198.51.100.9"


@pytest.fixture
def hasher():
    return CountingHasher()


@pytest.fixture
def http(clean, hasher, configure):
    """A client of an application whose hashes are counted. `X-Forwarded-For` says where a request comes from."""
    from edge.app import create_app
    from models.platform.settings import settings

    long_line = {"hashing_line_limit": 1000, "hashing_line_limit_per_network": 1000}  # so that all guesses get this far
    configure(trusted_proxies="127.0.0.1", **long_line)
    return falcon.testing.TestClient(create_app(settings, hasher=hasher), headers={"Host": "localhost"})


@pytest.fixture
def post(http):
    """post("token", ip=..., headers=..., email=...) -> the answer."""

    def send(path, ip=VICTIM, headers=None, **body):
        headers = {"X-Forwarded-For": ip, **(headers or {})}
        try:
            return http.simulate_post(f"/api/v1/auth/{path}", json=body, headers=headers)
        finally:
            release()

    return send


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", PASSWORD, tenant=tenant, verified=True)


@pytest.fixture
def sign_in(post, user):
    """sign_in(password, device=..., ip=..., email=...) -> the answer."""

    def send(password=PASSWORD, device=None, **more):
        headers = {"X-Device-Token": device} if device else {}
        return post("token", headers=headers, **{"email": user.email, "password": password, **more})

    return send


def bearer(answer):
    return {"Authorization": f"Bearer {answer.json['access_token']}"}


def statuses(answers):
    return sorted(answer.status_code for answer in answers)


# ---------------------------------------------------------------- a crowd of guesses


@pytest.mark.parametrize("email", ["jo@example.com", "nobody@example.com"], ids=["known", "unknown"])
def test_of_150_guesses_at_once_no_more_are_hashed_than_the_address_allows(sign_in, hasher, email, configure):
    hasher.seconds = 0.2
    before = hasher.count
    answers = crowd(150, lambda n: sign_in(f"{WRONG} {n}", email=email, ip=f"203.0.{n}.7"))
    assert hasher.since(before) == 5
    assert statuses(answers)[:5] == [401] * 5
    assert {answer.status_code for answer in answers} <= {401, 423, 429}


def test_of_150_guesses_at_once_no_more_are_hashed_than_the_network_allows(sign_in, hasher):
    hasher.seconds = 0.2
    before = hasher.count
    answers = crowd(150, lambda n: sign_in(WRONG, email=f"jo{n}@example.com", ip=STRANGER))
    assert hasher.since(before) == 50
    assert statuses(answers) == [401] * 50 + [429] * 100
    assert sign_in(email="al@example.com", ip="203.0.113.8").status_code == 429, "its /24 has used them up as well"


def test_of_a_crowd_of_wrong_current_passwords_no_more_are_hashed_than_the_session_allows(sign_in, post, hasher):
    session = sign_in()
    hasher.seconds, before = 0.2, hasher.count
    body = {"current_password": WRONG, "new_password": NEW}
    answers = crowd(40, lambda n: post("password/change", headers=bearer(session), **body))
    assert hasher.since(before) == 5
    assert statuses(answers)[:5] == [401] * 5 and {answer.status_code for answer in answers[5:]} <= {401, 423, 429}


def test_a_crowd_that_signs_in_with_the_right_password_costs_no_attempts(sign_in, hasher):
    hasher.seconds = 0.05
    for _ in range(3):
        answers = crowd(5, lambda n: sign_in())
        assert statuses(answers) == [200] * 5


def test_an_attempt_whose_outcome_stays_unknown_gives_its_place_back(sign_in, hasher, monkeypatch):
    def fail(*args):
        raise RuntimeError("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr(hasher, "matches", fail)
        assert [sign_in().status_code for _ in range(7)] == [500] * 7
    assert sign_in().status_code == 200


def test_a_refusal_by_the_hasher_gives_the_place_back(sign_in, hasher, monkeypatch):
    from models.platform.errors import Unavailable

    def refuse(*args):
        raise Unavailable()

    with monkeypatch.context() as patch:
        patch.setattr(hasher, "matches", refuse)
        assert [sign_in().status_code for _ in range(60)] == [503] * 60
    assert sign_in().status_code == 200


def test_a_process_that_dies_while_it_hashes_leaves_its_place_taken(sign_in, user, hasher):
    from models.auth import lockout
    from models.platform.attempts import Attempt
    from models.platform.client_info import ClientInfo

    for _ in range(5):
        Attempt(lockout.of_stranger(user.email, ClientInfo(STRANGER))).take()
    before = hasher.count
    assert sign_in().status_code == 429 and hasher.since(before) == 0


def test_while_redis_is_away_nothing_is_hashed_and_sessions_go_on(sign_in, http, hasher, monkeypatch):
    import redis

    from models.platform import attempts

    session, before = sign_in(), hasher.count

    class Away:
        def eval(self, *args):
            raise redis.ResponseError("OOM command not allowed")

    monkeypatch.setattr(attempts, "fast_redis_client", Away)
    answer = sign_in()
    assert (answer.status_code, answer.json["error"]) == (503, "cache_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert hasher.since(before) == 0
    assert http.simulate_get("/api/v1/auth/me", headers=bearer(session)).status_code == 200


# ---------------------------------------------------------------- nothing tells accounts apart


def lock_out(sign_in, email="jo@example.com"):
    """Five wrong passwords of a stranger."""
    return [sign_in(WRONG, email=email, ip=STRANGER) for _ in range(5)]


def test_a_locked_account_answers_right_and_wrong_passwords_alike(sign_in, hasher):
    lock_out(sign_in)
    before = hasher.count
    wrong, right = comparable(sign_in(WRONG)), comparable(sign_in())
    assert wrong[:2] == right[:2] and wrong[0] == 423
    assert hasher.since(before) == 0, "both take the same time, because neither is hashed"


@pytest.mark.parametrize("account", ["active", "disabled", "pending", "unknown"])
def test_every_address_has_the_same_answers_the_same_hashes_and_the_same_work(
    sign_in, user, hasher, account, jobs_named
):
    from models.platform.audit import AuditEvent

    if account == "unknown":
        user.delete_instance()
    else:
        User.update(status=account).execute()
    before = hasher.count
    seen = []
    for _ in range(7):
        answer, hashes = sign_in(WRONG, email="jo@example.com"), hasher.since(before)
        seen.append((answer.status_code, answer.json["message"], hashes))
    wrong, locked = "Invalid email or password.", "Account is locked."
    assert seen == [(401, wrong, number) for number in (1, 2, 3, 4, 5)] + [(423, locked, 5)] * 2
    assert len(jobs_named("mail.locked")) == 1, "the mail job checks whether the account exists"
    assert AuditEvent.select().count() == 5


# ---------------------------------------------------------------- a lock is no weapon


def test_a_lock_by_strangers_stops_no_known_device_and_no_session(sign_in, post, http, jobs_named):
    session = sign_in()
    device = session.headers["X-Device-Token"]
    lock_out(sign_in)
    assert sign_in().status_code == 423
    assert http.simulate_get("/api/v1/auth/me", headers=bearer(session)).status_code == 200
    assert post("refresh", refresh_token=session.json["refresh_token"]).status_code == 200
    assert sign_in(device=device).status_code == 200
    assert [job.args for job in jobs_named("mail.locked")] == [{"email": "jo@example.com"}]


def test_a_network_that_strangers_have_used_up_stops_no_known_device(sign_in, configure):
    configure(auth_ip_lockout_threshold=3)
    device = sign_in(ip=STRANGER).headers["X-Device-Token"]
    for number in range(3):
        sign_in(WRONG, email=f"jo{number}@example.com", ip=STRANGER)
    assert sign_in(ip=STRANGER).status_code == 429
    assert sign_in(ip=STRANGER, device=device).status_code == 200


def test_a_stolen_device_token_is_no_free_pass(sign_in, hasher, jobs_named):
    device = sign_in().headers["X-Device-Token"]
    before = hasher.count
    hasher.seconds = 0.1
    answers = crowd(30, lambda n: sign_in(f"{WRONG} {n}", device=device, ip=STRANGER))
    assert hasher.since(before) == 5 and statuses(answers)[:5] == [401] * 5
    assert sign_in(device=device).status_code == 423
    assert sign_in().status_code == 200, "the owner signs in without it"
    assert len(jobs_named("mail.locked")) == 1


def test_who_sets_a_new_password_gets_a_known_device_and_strangers_cannot_lock_it_again(sign_in, post, user):
    lock_out(sign_in)
    token = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    reset = post("password/confirm", token=token, new_password=NEW)
    assert reset.status_code == 200
    assert sign_in(NEW).status_code == 200, "a reset unlocks"
    lock_out(sign_in)
    assert sign_in(NEW).status_code == 423
    signed_in = sign_in(NEW, device=reset.headers["X-Device-Token"])
    assert signed_in.status_code == 200
    body = {"current_password": NEW, "new_password": f"{NEW} again"}
    changed = post("password/change", headers=bearer(signed_in), **body)
    lock_out(sign_in)
    assert sign_in(f"{NEW} again", device=signed_in.headers["X-Device-Token"]).status_code == 423
    assert sign_in(f"{NEW} again", device=changed.headers["X-Device-Token"]).status_code == 200


# ---------------------------------------------------------------- a quota is no weapon


def test_a_stranger_cannot_use_up_the_reset_mails_of_an_address(post, user, jobs_named):
    answers = [post("password/forgot", ip=STRANGER, email=user.email) for _ in range(20)]
    assert statuses(answers) == [202] * 20
    mine = post("password/forgot", email=user.email)
    assert comparable(mine)[:2] == comparable(answers[0])[:2]
    assert len(jobs_named("mail.reset")) == 4, "three of the stranger's, and the owner's own"
    refused = post("password/forgot", ip=STRANGER, email=user.email)
    assert (refused.status_code, refused.json["details"]["quota"]) == (429, "password_reset_ip")


def test_an_address_without_quota_has_links_that_work(post, user, jobs_named):
    """Its window is no longer than the life of a link."""
    from models.platform.redis import redis_client
    from models.platform.settings import settings

    for number in range(30):
        assert post("password/forgot", ip=f"203.0.{number}.7", email=user.email).status_code == 202
    assert len(jobs_named("mail.reset")) == 5
    windows = [redis_client().ttl(key) for key in redis_client().keys("*password_reset_[es]*")]
    assert len(windows) == 31 and max(windows) <= 60 * settings.password_reset_token_ttl_minutes


def test_of_a_crowd_of_reset_requests_no_more_mails_are_sent_than_the_address_may_have(post, user, jobs_named):
    answers = crowd(60, lambda n: post("password/forgot", ip=f"203.0.{n}.7", email=user.email))
    assert statuses(answers) == [202] * 60
    assert len(jobs_named("mail.reset")) == 5


def test_another_forgot_does_not_void_the_link_that_the_owner_has(post, user):
    mine = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    others = [email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30) for _ in range(4)]
    assert post("password/confirm", token=mine, new_password=NEW).status_code == 200
    for token in (mine, *others):
        assert post("password/confirm", token=token, new_password=f"{NEW} 2").status_code == 400


def registration(email, **more):
    return {"email": email, "password": NEW, "tenant_name": "Jo's", "accept_terms": True, **more}


def test_failed_registrations_of_a_stranger_use_up_nobody_elses_quota(post, clean, configure):
    configure(signup_access_policy="public")
    for number in range(19):
        email = "jo@acme.example" if number < 4 else f"jo{number}@acme.example"
        failed = post("register", ip=STRANGER, **registration(email, plan_code="golden"))
        assert failed.status_code == 404
    assert post("register", **registration("jo@acme.example")).status_code == 201


def test_of_a_crowd_of_registrations_no_more_succeed_than_the_domain_allows(post, clean, configure):
    configure(signup_access_policy="public", signup_rate_limit_per_domain_day=3)
    answers = crowd(12, lambda n: post("register", ip=f"203.0.{n}.7", **registration(f"jo{n}@acme.example")))
    assert statuses(answers) == [201] * 3 + [429] * 9


def access_request(email):
    return {"email": email, "organization": "Acme", "full_name": "Jo", "accept_terms": True}


def test_requests_for_access_that_are_not_new_use_up_no_quota(post, clean, configure, jobs_named):
    configure(signup_access_policy="approval")
    for _ in range(8):
        assert post("request-access", ip=STRANGER, **access_request("jo@acme.example")).status_code == 202
    assert len(jobs_named("mail.access_received")) == 1
    for number in range(3):
        answer = post("request-access", ip=f"203.0.{number}.7", **access_request("jo@acme.example"))
        assert answer.status_code == 202


def test_a_crowd_of_requests_for_access_leaves_no_more_pending_than_the_network_may_have(post, clean, configure):
    configure(signup_access_policy="approval", signup_rate_limit_per_hour=0)
    answers = crowd(20, lambda n: post("request-access", ip=STRANGER, **access_request(f"jo{n}@domain{n}.example")))
    assert statuses(answers) == [202] * 3 + [429] * 17


def test_verification_mails_are_charged_to_the_network_first(post, sign_in, user, jobs_named, configure):
    configure(email_verification_ip_rate_limit_per_hour=2)
    User.update(email_verified_at=None).execute()
    session = sign_in()
    answers = [post("email/send", ip=STRANGER, headers=bearer(session)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429, 429]
    assert post("email/send", headers=bearer(session)).status_code == 202, "only two of the user's three were used"


def test_a_crowd_cannot_make_a_limit_let_calls_through(clean):
    from models.platform import limits

    assert sum(crowd(200, lambda n: limits.within("crowd", 50, 60, "key"))) == 50


# ---------------------------------------------------------------- refreshes that meet


def test_a_hundred_refreshes_at_once_get_one_and_the_same_pair(sign_in, post, configure):
    configure(auth_refresh_rate_limit_per_minute=0)
    used = sign_in().json["refresh_token"]
    answers = crowd(100, lambda n: post("refresh", refresh_token=used))
    assert statuses(answers) == [200] * 100 and len({answer.text for answer in answers}) == 1
    assert count_events("auth.refresh_token_reused") == 0
    assert post("refresh", refresh_token=answers[0].json["refresh_token"]).status_code == 200


# ---------------------------------------------------------------- passwords known from breaches

KNOWN = "staple battery horse correct"


@pytest.fixture
def known_password(tmp_path, configure):
    """A list with one password that the policy would accept."""
    import hashlib

    from models.auth import breached_passwords

    path = tmp_path / "breached.bin"
    breached_passwords.build([f"{hashlib.sha1(KNOWN.encode()).hexdigest()}:9"], path)
    configure(breach_list_path=str(path))
    yield KNOWN
    breached_passwords._open.cache_clear()


def test_a_password_known_from_a_breach_is_refused_wherever_one_is_set(
    known_password, post, sign_in, user, tenant, configure
):
    configure(signup_access_policy="public")
    admin = add_user("al@example.com", PASSWORD, tenant=tenant, role="owner", verified=True)
    as_admin, as_user = bearer(sign_in(email=admin.email)), bearer(sign_in())
    token = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    answers = [
        post("register", **registration("kim@example.com", password=known_password)),
        post("password/confirm", token=token, new_password=known_password),
        post("password/change", headers=as_user, current_password=PASSWORD, new_password=known_password),
        post("password/reset", headers=as_admin, user_id=str(user.id), new_password=known_password),
    ]
    assert [answer.status_code for answer in answers] == [422, 422, 400, 400]
    assert [answer.json["details"][0]["type"] for answer in answers[:2]] == ["password_breached"] * 2
    assert [answer.json["error"] for answer in answers[2:]] == ["password_breached"] * 2
    assert not [answer for answer in answers if known_password in answer.text]


def test_an_operator_is_not_created_with_a_password_known_from_a_breach(known_password, clean, hasher):
    from models.auth import operators
    from models.auth.passwords import PasswordBreached

    with pytest.raises(PasswordBreached):
        operators.create_account("ops@example.com", known_password, "Operations", by=Root("test"), hasher=hasher)
    assert User.select().count() == 0
