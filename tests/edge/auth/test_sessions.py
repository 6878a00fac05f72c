"""Sessions: listing them, ending one or all, and the effect on access tokens."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.auth import token_refresh
from models.auth.sessions import RefreshToken
from models.platform.audit import AuditEvent
from models.platform.database import release
from models.platform.redis import redis_client
from tests.support.accounts import add_user, is_open, log_in

PASSWORD = "correct horse battery"
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1"


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", PASSWORD, tenant=tenant, verified=True)


@pytest.fixture
def sign_in(http, user):
    def make(agent="curl/8.0"):
        body = {"email": user.email, "password": PASSWORD}
        return http.simulate_post("/api/v1/auth/token", json=body, headers={"User-Agent": agent}).json

    return make


def bearer(tokens):
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def me(http, tokens):
    return http.simulate_get("/api/v1/auth/me", headers=bearer(tokens)).status_code


def logout(http, tokens, refresh_token):
    return http.simulate_post("/api/v1/auth/logout", json={"refresh_token": refresh_token}, headers=bearer(tokens))


def test_after_logout_both_tokens_are_refused_and_a_second_logout_says_so(http, sign_in):
    tokens, other = sign_in(), sign_in()
    assert me(http, tokens) == 200
    assert logout(http, tokens, tokens["refresh_token"]).json["data"] == {"revoked": True}
    assert me(http, tokens) == 401
    again = http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert again.status_code == 401
    answer = logout(http, other, tokens["refresh_token"])
    assert (answer.json["message"], answer.json["data"]) == ("Session already inactive.", {"revoked": False})
    assert me(http, other) == 200


def test_an_expired_refresh_token_still_ends_its_session(http, sign_in):
    tokens = sign_in()
    RefreshToken.update(expires_at="2020-01-01T00:00:00Z").execute()
    assert logout(http, tokens, tokens["refresh_token"]).json["data"] == {"revoked": True}
    assert me(http, tokens) == 401


def test_logout_accepts_only_the_callers_own_refresh_token(http, sign_in, signed):
    tokens, (stranger, _) = sign_in(), signed()
    refused = http.simulate_post(
        "/api/v1/auth/logout", json={"refresh_token": tokens["refresh_token"]}, headers=stranger
    )
    assert (refused.status_code, refused.json["message"]) == (
        403,
        "Refresh token does not belong to the authenticated user.",
    )
    for token, message in (
        ("rubbish", "Refresh token verification failed."),
        (tokens["access_token"], "Token is not a refresh token."),
    ):
        refused = logout(http, tokens, token)
        assert (refused.status_code, refused.json["message"]) == (403, message)
    assert me(http, tokens) == 200


def test_logout_all_ends_every_session_and_returns_the_count(http, sign_in):
    first, second = sign_in(), sign_in()
    answer = http.simulate_post("/api/v1/auth/logout/all", headers=bearer(first))
    assert answer.json["data"] == {"revoked": 2}
    assert (me(http, first), me(http, second)) == (401, 401)
    assert AuditEvent.select().where(AuditEvent.action == "auth.signed_out").count() == 2


@pytest.mark.parametrize("loss", ["emptied", "away"])
def test_an_ended_session_stays_ended_when_redis_loses_its_data(http, sign_in, configure, loss):
    tokens, other = sign_in(), sign_in()
    assert logout(http, tokens, tokens["refresh_token"]).json["data"] == {"revoked": True}
    if loss == "emptied":
        redis_client().flushdb()
    else:
        configure(redis_url="redis://127.0.0.1:1/0")
    assert (me(http, tokens), me(http, other)) == (401, 200)


def test_sessions_are_listed_with_their_clients(http, sign_in):
    sign_in(PHONE)
    tokens = sign_in("Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/119.0")
    page = http.simulate_get("/api/v1/auth/sessions", headers=bearer(tokens)).json
    assert (page["total"], page["limit"], page["offset"]) == (2, 20, 0)
    desk, phone = page["sessions"]
    assert (desk["current"], phone["current"]) == (True, False)
    assert desk["ip_address_masked"] == "127.0.0.*"
    assert {**desk["client"], "user_agent": 0} == {
        "platform": "Linux",
        "browser": "Firefox",
        "device": "desktop",
        "user_agent": 0,
    }
    assert (phone["client"]["platform"], phone["client"]["browser"], phone["client"]["device"]) == (
        "iOS",
        "Safari",
        "mobile",
    )
    assert len(desk["fingerprint"]) == 64 and desk["fingerprint"] != phone["fingerprint"]
    second = http.simulate_get("/api/v1/auth/sessions?limit=1&offset=1", headers=bearer(tokens)).json
    assert [item["id"] for item in second["sessions"]] == [phone["id"]]


def test_ended_and_expired_sessions_are_listed_only_on_request(http, sign_in):
    ended, expired, tokens = sign_in(), sign_in(), sign_in()
    logout(http, tokens, ended["refresh_token"])
    RefreshToken.update(expires_at="2020-01-01T00:00:00Z").where(
        RefreshToken.session == expired["session_id"]
    ).execute()
    short = http.simulate_get("/api/v1/auth/sessions", headers=bearer(tokens)).json
    assert [item["id"] for item in short["sessions"]] == [tokens["session_id"]]
    whole = http.simulate_get("/api/v1/auth/sessions?include_revoked=true", headers=bearer(tokens)).json
    assert whole["total"] == 3


def test_a_session_can_be_ended_by_id_once_and_only_by_its_owner(http, sign_in, signed):
    tokens, other, (stranger, _) = sign_in(), sign_in(), signed()
    path = f"/api/v1/auth/sessions/{other['session_id']}"
    assert http.simulate_delete(path, headers=stranger).status_code == 404
    assert http.simulate_delete(path, headers=bearer(tokens)).json["data"] == {"revoked": True}
    assert http.simulate_delete(path, headers=bearer(tokens)).status_code == 404
    assert (me(http, other), me(http, tokens)) == (401, 200)


def test_without_a_grace_only_one_of_many_parallel_refreshes_succeeds_and_the_session_ends(user, configure):
    configure(auth_refresh_grace_seconds=0)
    tokens = log_in(user.email)
    release()

    def refresh(_):
        try:
            return token_refresh.refresh(tokens.refresh_token)
        except Exception as error:
            return error
        finally:
            release()

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(refresh, range(8)))
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert not is_open(tokens.session_id)
    assert AuditEvent.select().where(AuditEvent.action == "auth.refresh_token_reused").count() == 1


def test_a_login_is_audited_with_address_and_client(http, sign_in):
    tokens = sign_in(PHONE)
    [event] = AuditEvent.select().where(AuditEvent.action == "auth.signed_in")
    assert (event.actor, event.subject) == (f"user:{tokens['user_id']}", f"session:{tokens['session_id']}")
    assert (event.ip, event.user_agent) == ("127.0.0.1", PHONE)
