"""Requests for access, operators' decisions about them, and invites."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest

from models.auth import operators
from models.auth.invites import Invite
from models.auth.signup_requests import SignupRequest
from models.platform.clock import now
from models.platform.database import release
from models.platform.principal import Root
from tests.support.accounts import add_user, count_events, log_in, status_and_message

PASSWORD = "a-long-walk-by-the-sea"
NOBODY = str(uuid4())


@pytest.fixture(autouse=True)
def no_limits(configure):
    for name in ("per_hour", "per_ip_day", "per_email_day", "per_domain_day"):
        configure(**{f"signup_rate_limit_{name}": 0})
    configure(signup_concurrent_requests_limit=0)
    configure(signup_access_policy="approval")


@pytest.fixture
def operator(signed):
    headers, _ = signed("viewer", operator=True)
    return headers


@pytest.fixture
def request_access(post):
    def send(email="jo@example.com", **more):
        body = {"email": email, "organization": "Acme", "full_name": "Jo", "accept_terms": True, **more}
        return post("request-access", **body)

    return send


@pytest.fixture
def pending(request_access):
    """pending("jo@example.com") -> the id of a new request for access."""

    def make(email="jo@example.com"):
        assert request_access(email).status_code == 202
        return str(SignupRequest.get(SignupRequest.email == email).id)

    return make


@pytest.fixture
def register(post):
    return lambda email, token: post(
        "register", email=email, password=PASSWORD, tenant_name="Acme", accept_terms=True, invite_token=token
    )


def listing(http, headers, path, **query):
    answer = http.simulate_get(f"/api/v1/auth/{path}", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json


# ---------------------------------------------------------------- asking for access


def test_all_requests_get_the_same_answer_and_only_genuine_new_ones_are_stored(request_access, tenant, jobs_named):
    add_user("known@example.com", PASSWORD, tenant=tenant)
    answers = [
        request_access(),
        request_access("JO@example.com"),
        request_access("known@example.com"),
        request_access("robot@example.com", honeypot="http://spam.example"),
    ]
    policy = {"policy": "approval", "invite_required": True, "request_access_enabled": True}
    assert [(answer.status_code, answer.json) for answer in answers] == [(202, policy)] * 4
    assert {request.email for request in SignupRequest.select()} == {"jo@example.com", "known@example.com"}
    assert len(jobs_named("mail.access_received")) == len(jobs_named("mail.access_known")) == 1


def test_requests_with_a_filled_honeypot_are_counted(http, request_access):
    def blocked():
        lines = http.simulate_get("/metrics").text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('signup_blocked_total{reason="honeypot"}')
        )

    before = blocked()
    request_access(honeypot="x")
    request_access(honeypot="   ")
    assert blocked() == before + 1
    assert SignupRequest.select().count() == 1


def test_operators_are_mailed_about_a_request(request_access, operator, signed, jobs_named):
    signed("owner")
    request_access()
    [request], [operator] = SignupRequest.select(), operators.list_operators()
    assert [job.args for job in jobs_named("mail.access_received")] == [{"request_id": str(request.id)}]
    assert [job.args for job in jobs_named("mail.access_requested")] == [
        {"request_id": str(request.id), "operator_id": str(operator.user.id)}
    ]


def test_where_signup_is_public_requests_are_refused(request_access, configure):
    configure(signup_access_policy="public")
    assert status_and_message(request_access())[0] == 409
    assert SignupRequest.select().count() == 0


@pytest.mark.parametrize(
    "change",
    [{"accept_terms": False}, {"organization": " x "}, {"full_name": "x"}, {"message": "x" * 1001}, {"email": "x"}],
)
def test_an_invalid_request_is_not_stored(request_access, change):
    assert request_access(**change).status_code == 422
    assert SignupRequest.select().count() == 0


def test_pending_requests_are_limited_per_network_and_day(request_access, configure):
    configure(signup_concurrent_requests_limit=2)
    assert [request_access(f"jo{n}@example.com").status_code for n in range(2)] == [202, 202]
    refused = request_access("kim@example.com")
    assert status_and_message(refused) == (429, "Too many pending requests from this IP. Try again soon.")
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    SignupRequest.update(created_at=now() - timedelta(days=1, minutes=1)).execute()
    assert request_access("kim@example.com").status_code == 202


# ---------------------------------------------------------------- deciding


def test_approving_a_request_issues_an_invite_for_its_address_only(post, pending, operator, register, jobs_named):
    request_id = pending()
    answer = post(f"signup-requests/{request_id}/approve", operator, note="met at the fair")
    assert answer.status_code == 200
    request, invite = answer.json["request"], answer.json["invite"]
    assert (request["status"], request["decision_reason"]) == ("approved", "met at the fair")
    assert request["invite_token_hint"] == invite["token_hint"] == invite["invite_token"][:8]
    assert (invite["invited_email"], invite["max_redemptions"]) == ("jo@example.com", 1)
    assert invite["signup_request_id"] == request_id and len(invite["invite_token"]) == 43
    [job] = jobs_named("mail.invite")
    assert job.args == {"invite_id": invite["id"]}
    assert register("kim@example.com", invite["invite_token"]).status_code == 403
    assert register("jo@example.com", invite["invite_token"]).status_code == 201
    assert count_events("auth.signup_request_approved") == count_events("auth.invite_issued") == 1


@pytest.mark.parametrize(("hours", "expected"), [(5, 5), (None, None)])
def test_the_approver_sets_the_lifetime_of_the_invite(post, pending, operator, hours, expected):
    invite = post(f"signup-requests/{pending()}/approve", operator, invite_expires_in_hours=hours).json["invite"]
    if expected is None:
        assert invite["expires_at"] is None
    else:
        left = Invite.get().expires_at - now()
        assert timedelta(hours=expected - 0.1) < left <= timedelta(hours=expected)


def test_rejecting_a_request_issues_no_invite(post, pending, operator, jobs_named):
    answer = post(f"signup-requests/{pending()}/reject", operator, reason="who are you?")
    assert answer.json["invite"] is None
    assert (answer.json["request"]["status"], answer.json["request"]["decision_reason"]) == ("rejected", "who are you?")
    assert Invite.select().count() == 0 and len(jobs_named("mail.access_rejected")) == 1
    assert len(jobs_named("mail.access_received")) == len(jobs_named("mail.access_requested")) == 1


@pytest.mark.parametrize("first", ["approve", "reject"])
@pytest.mark.parametrize("second", ["approve", "reject"])
def test_a_request_can_be_decided_only_once(post, pending, operator, first, second):
    request_id = pending()
    assert post(f"signup-requests/{request_id}/{first}", operator).status_code == 200
    again = post(f"signup-requests/{request_id}/{second}", operator)
    assert status_and_message(again) == (409, "Request already processed by another operator.")
    assert Invite.select().count() == (first == "approve")
    assert status_and_message(post(f"signup-requests/{NOBODY}/{second}", operator)) == (
        404,
        "Signup request not found.",
    )


def test_only_one_of_many_parallel_approvals_succeeds(post, pending, operator):
    request_id = pending()

    def approve(_):
        try:
            return post(f"signup-requests/{request_id}/approve", operator).status_code
        finally:
            release()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(approve, range(6))) == [200] + [409] * 5
    assert Invite.select().count() == 1


def test_requests_are_listed_newest_first_and_by_status(http, post, pending, operator):
    ids = [pending(f"jo{n}@example.com") for n in range(3)]
    post(f"signup-requests/{ids[0]}/reject", operator)
    page = listing(http, operator, "signup-requests", limit=2)
    assert ([item["id"] for item in page["requests"]], page["total"]) == (ids[:0:-1], 3)
    assert [item["id"] for item in listing(http, operator, "signup-requests", offset=2)["requests"]] == ids[:1]
    assert [item["id"] for item in listing(http, operator, "signup-requests", status="rejected")["requests"]] == ids[:1]
    assert http.simulate_get("/api/v1/auth/signup-requests?status=x", headers=operator).status_code == 422


# ---------------------------------------------------------------- invites


def test_the_token_of_an_invite_is_shown_only_when_it_is_issued(http, post, operator, jobs_named):
    issued = post("invites", operator, note="for the fair")
    assert issued.status_code == 201
    token = issued.json["invite_token"]
    assert (issued.json["token_hint"], issued.json["status"]) == (token[:8], "active")
    assert timedelta(hours=71.9) < Invite.get().expires_at - now() <= timedelta(hours=72)
    assert Invite.get().issued_by.startswith("user:") and Invite.get().token_hash != token
    answer = http.simulate_get("/api/v1/auth/invites", headers=operator)
    assert token not in answer.text and answer.json["invites"][0]["id"] == issued.json["id"]
    assert jobs_named("mail.invite") == []  # there is no address to mail it to


def test_an_invite_for_an_address_is_mailed_to_it(post, operator, jobs_named):
    issued = post("invites", operator, invited_email="Jo@Example.com", expires_in_hours=None)
    assert (issued.json["invited_email"], issued.json["expires_at"]) == ("jo@example.com", None)
    assert [job.args for job in jobs_named("mail.invite")] == [{"invite_id": issued.json["id"]}]


@pytest.mark.parametrize(
    "body", [{"max_redemptions": 0}, {"max_redemptions": 11}, {"expires_in_hours": 337}, {"note": "x" * 513}]
)
def test_an_invite_beyond_the_limits_is_not_issued(post, operator, body):
    assert post("invites", operator, **body).status_code == 422
    assert Invite.select().count() == 0


def test_an_invite_for_a_request_needs_approval_and_the_requesters_address(post, pending, operator):
    request_id = pending()
    assert status_and_message(post("invites", operator, signup_request_id=NOBODY)) == (404, "Signup request not found.")
    assert post("invites", operator, signup_request_id=request_id).status_code == 409
    assert post(f"signup-requests/{request_id}/approve", operator).status_code == 200
    other = post("invites", operator, signup_request_id=request_id, invited_email="kim@example.com")
    assert other.status_code == 409
    second = post("invites", operator, signup_request_id=request_id)
    assert (second.status_code, second.json["invited_email"]) == (201, "jo@example.com")
    assert Invite.select().count() == 2


def test_a_revoked_invite_cannot_be_used_and_stays_revoked(post, operator, register):
    issued = post("invites", operator).json
    for _ in range(2):
        answer = post(f"invites/{issued['id']}/revoke", operator)
        assert (answer.status_code, answer.json["status"]) == (200, "revoked")
    assert count_events("auth.invite_revoked") == 1
    assert register("jo@example.com", issued["invite_token"]).status_code == 403
    assert status_and_message(post(f"invites/{NOBODY}/revoke", operator)) == (
        404,
        "Invite not found or already revoked.",
    )


def test_invites_are_filtered_by_status_address_and_request(http, post, pending, operator):
    request_id = pending()
    approved = post(f"signup-requests/{request_id}/approve", operator).json["invite"]["id"]
    active, expired, revoked = (post("invites", operator).json["id"] for _ in range(3))
    Invite.update(expires_at=now()).where(Invite.id == expired).execute()
    post(f"invites/{revoked}/revoke", operator)

    def ids(**query):
        return {item["id"] for item in listing(http, operator, "invites", **query)["invites"]}

    assert ids() == {approved, active, expired, revoked}
    assert ids(status="active") == {approved, active}
    assert (ids(status="expired"), ids(status="revoked")) == ({expired}, {revoked})
    assert ids(status="exhausted") == set()
    assert ids(email="JO@example.com") == ids(request_id=request_id) == {approved}
    page = listing(http, operator, "invites", limit=1, offset=1)
    assert (page["total"], page["invites"][0]["id"]) == (4, expired)
    assert listing(http, operator, "invites", status="expired")["invites"][0]["status"] == "expired"


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize(
    ("scope", "path"), [("auth:invites", "signup-requests"), ("auth:signup_requests", "invites"), (None, "invites")]
)
def test_each_list_needs_its_own_scope(http, signed, scope, path):

    _, user = signed("owner")
    if scope:
        operators.grant(user.email, [scope], by=Root("test"))
    tokens = log_in(user.email)
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    assert http.simulate_get(f"/api/v1/auth/{path}", headers=headers).status_code == 403
    if scope:
        other = {"signup-requests": "invites", "invites": "signup-requests"}[path]
        assert http.simulate_get(f"/api/v1/auth/{other}", headers=headers).status_code == 200
