"""Registering a tenant with its owner, with and without invites."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from models.auth.invite_reservations import Reservation
from models.auth.invites import Invite
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import Membership, User
from models.platform.clock import now
from models.platform.database import release, transaction
from models.platform.principal import OPERATOR, Principal
from tests.support.accounts import (
    InterruptedHasher,
    add_user,
    bearer,
    count_events,
    is_rate_limited,
    status_and_message,
)

PASSWORD = "a-long-walk-by-the-sea"


@pytest.fixture
def policy(configure):
    return lambda name: configure(signup_access_policy=name)


@pytest.fixture(autouse=True)
def no_limits(configure):
    for name in ("per_hour", "per_ip_day", "per_email_day", "per_domain_day"):
        configure(**{f"signup_rate_limit_{name}": 0})


@pytest.fixture
def register(post, policy):
    """register("jo@example.com", ...) -> the answer; `...` leaves a field out."""
    policy("public")
    return lambda email="jo@example.com", **more: post("register", **registration(email, **more))


@pytest.fixture
def register_with(http_with):
    """register_with(hasher) -> a `register` of an application that hashes passwords with it."""

    def build(hasher):
        http = http_with(hasher)
        return lambda email="jo@example.com", **more: http.simulate_post(
            "/api/v1/auth/register", json=registration(email, **more)
        )

    return build


def registration(email, **more):
    body = {"email": email, "password": PASSWORD, "tenant_name": "Jo's Café", "accept_terms": True, **more}
    return {name: value for name, value in body.items() if value is not ...}


@pytest.fixture
def invite(clean):
    """invite(max_redemptions=1, ...) -> the committed invite of an operator."""
    operator = Principal(None, None, scopes=frozenset(OPERATOR), account="test")

    def make(**more):
        with transaction():
            return Invite.issue(operator, **more)

    return make


def at_once(calls):
    """Run the calls in parallel; returns their answers in the same order."""

    def run(call):
        try:
            return call()
        finally:
            release()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def nothing_was_created():
    counts = [model.select().count() for model in (Tenant, User, Membership, Session)]
    active = Reservation.select().where(Reservation.status == "active").count()
    return counts == [0, 0, 0, 0] and active == 0


def test_the_policy_is_public(http, policy):
    expected = {"public": (False, False), "invite_only": (True, True), "approval": (True, True)}
    for name, (invite_required, request_access_enabled) in expected.items():
        policy(name)
        assert http.simulate_get("/api/v1/auth/signup-policy").json == {
            "policy": name,
            "invite_required": invite_required,
            "request_access_enabled": request_access_enabled,
        }


def test_registering_creates_an_unverified_owner_with_a_tenant_and_a_session(http, register, jobs_named):
    answer = register("Jo@Example.com", display_name="Jo")
    assert answer.status_code == 201
    tenant, user = Tenant.get(), User.get()
    tokens = answer.json
    assert (tokens["tenant_id"], tokens["user_id"], tokens["tenant_slug"]) == (
        str(tenant.id),
        str(user.id),
        "jo-s-cafe",
    )
    assert (user.email, user.display_name, user.email_verified_at) == ("jo@example.com", "Jo", None)
    assert Membership.get().role == "owner" and "billing:manage" in tokens["scopes"]
    assert tenant.plan_code == "starter"
    assert timedelta(days=13.9) < tenant.trial_ends_at - now() <= timedelta(days=14)
    assert http.simulate_get("/api/v1/auth/me", headers=bearer(tokens)).status_code == 200
    refused = http.simulate_get("/api/v1/conversations", headers=bearer(tokens))
    assert (refused.status_code, refused.json["error"]) == (403, "email_not_verified")
    assert [job.args for job in jobs_named("mail.verify")] == [{"user_id": str(user.id)}]
    assert count_events("auth.registered") == count_events("auth.signed_in") == 1


def test_registrations_are_counted_by_result(http, register):
    register()
    register()
    text = http.simulate_get("/metrics").text
    assert 'signup_attempts_total{policy="public",result="success"}' in text
    assert 'signup_attempts_total{policy="public",result="email_taken"}' in text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"accept_terms": False}, "accept_terms"),
        ({"accept_terms": ...}, "accept_terms"),
        ({"password": "Password123456789"}, "password"),
        ({"password": "x" * 13}, "password"),
        ({"tenant_name": "  x  "}, "tenant_name"),
        ({"tenant_name": "x" * 129}, "tenant_name"),
        ({"display_name": "x" * 129}, "display_name"),
        ({"trial_days": 366}, "trial_days"),
        ({"email": "jo"}, "email"),
    ],
)
def test_an_invalid_registration_is_reported_and_creates_nothing(register, change, field):
    answer = register(**change)
    assert answer.status_code == 422 and answer.json["detail"][0]["loc"] == ["body", field]
    assert nothing_was_created()


def test_an_unknown_plan_creates_nothing_and_releases_the_seat(register, policy, invite):
    policy("invite_only")
    token = invite().token
    assert status_and_message(register(invite_token=token, plan_code="golden")) == (404, "Plan 'golden' not found.")
    assert nothing_was_created()
    assert register(invite_token=token, plan_code="pro").status_code == 201
    assert Tenant.get().plan_code == "pro"


@pytest.mark.parametrize(("allowed", "requested", "days"), [(False, 3, 14), (True, 3, 3), (True, 99, 14), (True, 0, 0)])
def test_a_trial_can_be_shortened_only_where_that_is_allowed(register, configure, allowed, requested, days):
    configure(allow_signup_trial_override=allowed)
    assert register(trial_days=requested).status_code == 201
    ends = Tenant.get().trial_ends_at
    assert round((ends - now()).total_seconds() / 86_400) == days if days else ends is None


def test_an_address_registers_once_in_any_spelling(register):
    assert register().status_code == 201
    assert status_and_message(register("JO@EXAMPLE.com")) == (409, "Email already registered.")
    assert (Tenant.select().count(), User.select().count(), Session.select().count()) == (1, 1, 1)


def test_only_one_of_many_parallel_registrations_of_an_address_succeeds(register):
    answers = at_once([register] * 8)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert (Tenant.select().count(), User.select().count()) == (1, 1)


def test_tenants_with_the_same_name_get_different_slugs(register):
    answers = at_once([lambda n=n: register(f"jo{n}@example.com") for n in range(8)])
    slugs = {answer.json["tenant_slug"] for answer in answers}
    assert len(slugs) == 8 and all(slug.startswith("jo-s-cafe") for slug in slugs)


@pytest.mark.parametrize(
    ("name", "slug"),
    [("Müller & Söhne GmbH", "muller-sohne-gmbh"), ("日本語", "tenant"), ("!!!", "tenant"), ("a" * 128, "a" * 57)],
)
def test_a_slug_keeps_the_ascii_letters_and_digits_of_the_name(register, name, slug):
    assert register(tenant_name=name).json["tenant_slug"] == slug


# ---------------------------------------------------------------- invites


@pytest.mark.parametrize(
    ("flaw", "message"),
    [
        ("none", "Invite token is required for signup."),
        ("unknown", "Invite token is invalid."),
        ("revoked", "Invite token is no longer active."),
        ("exhausted", "Invite token is no longer active."),
        ("held", "Invite token is no longer active."),
        ("expired", "Invite token has expired."),
        ("another's", "Invite token is restricted to a different email."),
        ("not approved", "Approval-required signup must use an approved invite."),
    ],
)
def test_registering_needs_a_valid_invite(register, policy, invite, flaw, message):
    policy("approval" if flaw == "not approved" else "invite_only")
    token = invite(email="kim@example.com" if flaw == "another's" else None).token
    token = {"none": ..., "unknown": "x" * 43}.get(flaw, token)
    if flaw in ("revoked", "exhausted"):
        Invite.update(status=flaw).execute()
    elif flaw == "expired":
        Invite.update(expires_at=now()).execute()
    elif flaw == "held":
        Reservation.hold(token, "kim@example.com", approved_only=False)
    assert status_and_message(register(invite_token=token)) == (403, message)
    if flaw == "held":
        Reservation.delete().execute()
    assert nothing_was_created()


def test_where_signup_is_public_an_invite_is_ignored(register, invite):
    assert register(invite_token="anything").status_code == 201


@pytest.mark.parametrize("seats", [1, 3])
def test_parallel_redemptions_never_exceed_the_seats(register, policy, invite, seats):
    policy("invite_only")
    token = invite(max_redemptions=seats).token
    answers = at_once([lambda n=n: register(f"jo{n}@example.com", invite_token=token) for n in range(12)])
    assert sorted(answer.status_code for answer in answers) == [201] * seats + [403] * (12 - seats)
    used = Invite.get()
    assert (used.redeemed_count, used.status) == (seats, "exhausted")
    assert Tenant.select().count() == User.select().count() == seats


def test_an_unused_seat_is_free_again_after_it_expires(register, policy, invite):
    policy("invite_only")
    token = invite().token
    Reservation.hold(token, "kim@example.com", approved_only=False)
    assert register(invite_token=token).status_code == 403
    Reservation.update(expires_at=now()).execute()
    assert register(invite_token=token).status_code == 201
    assert {reservation.status for reservation in Reservation.select()} == {"expired", "finalized"}


def test_a_signup_that_outlives_its_seat_fails(register, register_with, policy, invite):
    policy("invite_only")
    token = invite().token

    def take_the_seat(password):
        Reservation.update(expires_at=now()).execute()
        assert register("quick@example.com", invite_token=token).status_code == 201

    slow = register_with(InterruptedHasher(before_hash=take_the_seat))
    assert status_and_message(slow("slow@example.com", invite_token=token)) == (
        403,
        "Invite token is no longer active.",
    )
    assert [user.email for user in User.select()] == ["quick@example.com"] and Tenant.select().count() == 1


def test_revoking_an_invite_does_not_stop_a_signup_that_holds_a_seat(register_with, policy, invite):
    policy("invite_only")
    token = invite().token

    def revoke_meanwhile(password):
        Invite.update(status="revoked").execute()

    register = register_with(InterruptedHasher(before_hash=revoke_meanwhile))
    assert register(invite_token=token).status_code == 201
    assert (Invite.get().status, Invite.get().redeemed_count) == ("revoked", 1)


def test_a_failed_signup_releases_its_seat(register, policy, invite):
    policy("invite_only")
    owner = add_user("jo@example.com", tenant=Tenant.create(slug="s", name="S"))
    token = invite().token
    assert register(owner.email, invite_token=token).status_code == 409
    assert [reservation.status for reservation in Reservation.select()] == ["released"]
    assert register("kim@example.com", invite_token=token).status_code == 201


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("setting", "quota"),
    [
        ("per_hour", "signup_per_hour"),
        ("per_ip_day", "signup_per_day"),
    ],
)
def test_a_network_is_limited_whether_its_attempts_succeed_or_not(register, configure, setting, quota):
    configure(**{f"signup_rate_limit_{setting}": 1})
    assert register(plan_code="golden").status_code == 404
    refused = register("kim@elsewhere.example")
    assert refused.status_code == 429 and refused.json["details"]["quota"] == quota
    assert 0 < int(refused.headers["Retry-After"]) <= 86_400


@pytest.mark.parametrize(
    ("setting", "quota", "next_email", "other"),
    [
        ("per_email_day", "signup_per_email_day", "JO@example.com", "kim@example.com"),
        ("per_domain_day", "signup_per_domain_day", "kim@example.com", "jo@elsewhere.example"),
    ],
)
def test_an_address_and_its_domain_are_limited_by_what_succeeds(register, configure, setting, quota, next_email, other):
    configure(**{f"signup_rate_limit_{setting}": 1})
    assert [register(plan_code="golden").status_code for _ in range(3)] == [404] * 3
    assert register().status_code == 201
    refused = register(next_email)
    assert refused.status_code == 429 and refused.json["details"]["quota"] == quota
    assert 3600 < int(refused.headers["Retry-After"]) <= 86_400
    assert register(other).status_code == 201


def test_users_of_a_public_mail_provider_do_not_block_each_other(register, configure):
    configure(signup_rate_limit_per_domain_day=1)
    assert [register(f"jo{n}@gmail.com").status_code for n in range(3)] == [201] * 3
    assert [register(f"jo{n}@acme.example").status_code for n in range(2)] == [201, 429]


def test_retry_after_is_in_seconds(register, configure):
    configure(signup_rate_limit_per_hour=1)
    register()
    assert is_rate_limited(register("kim@example.com"), "signup_per_hour")
