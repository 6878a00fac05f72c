"""Accounts through real processes: a worker mails a token, and the client uses it."""

import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from devstack.stack import EMAIL, PASSWORD

NEW = "violet tractor umbrella"


@pytest.fixture
def restored(live):
    """Restore the demo user's password after the test, and sign the client in again."""
    [(password_hash,)] = live.sql("select password_hash from users where email = %s", EMAIL)
    yield
    live.sql("update users set password_hash = %s where email = %s", password_hash, EMAIL)
    live.sql("delete from password_history where user_id = (select id from users where email = %s)", EMAIL)
    live.sign_in()


def test_a_mailed_token_resets_a_forgotten_password(live, restored, wait_until):
    def sign_in(password):
        return live.http.post("/api/v1/auth/token", json={"email": EMAIL, "password": password}).status_code

    assert live.http.get("/api/v1/auth/me").status_code == 200
    assert live.http.post("/api/v1/auth/password/forgot", json={"email": EMAIL}).status_code == 202
    [token] = wait_until(lambda: live.mailed_tokens(EMAIL, "Reset your password"))
    body = {"token": token, "new_password": NEW}
    assert live.http.post("/api/v1/auth/password/confirm", json=body).status_code == 200
    assert live.http.get("/api/v1/auth/me").status_code == 401, "a reset ends all sessions"
    assert (sign_in(PASSWORD), sign_in(NEW)) == (401, 200)
    assert live.http.post("/api/v1/auth/password/confirm", json=body).status_code == 400
    wait_until(lambda: live.mail(EMAIL, "Your password was changed"))
    assert not live.sql("select 1 from job where args::text like %s or error like %s", f"%{token}%", f"%{token}%")


def test_a_new_user_can_chat_after_verifying_their_address(live, wait_until):
    address, password = "you@example.com", "a-long-walk-by-the-sea"
    with httpx.Client(base_url=f"{live.url}/api/v1", timeout=30) as http:
        body = {"email": address, "password": password, "tenant_name": "Your company", "accept_terms": True}
        registered = http.post("/auth/register", json=body)
        assert registered.status_code == 201
        http.headers["Authorization"] = f"Bearer {registered.json()['access_token']}"
        assert http.post("/chat", json={"message": "Hello"}).status_code == 403
        [token] = wait_until(lambda: live.mailed_tokens(address, "Verify your address"))
        assert http.post("/auth/email/verify", json={"token": token}).status_code == 200
        answer = http.post("/chat", json={"message": "Hello"})
        assert answer.status_code == 200 and answer.json()["response"]
        assert http.delete(f"/auth/sessions/{registered.json()['session_id']}").status_code == 200
        assert http.post("/chat", json={"message": "Hello"}).status_code == 401


@pytest.fixture
def forgotten(live):
    """Forget after the test what it has guessed: the other tests sign in from the same network."""
    yield
    keys = live.redis().keys("*:attempts:*")
    if keys:
        live.redis().delete(*keys)


def test_of_forty_guesses_at_once_five_are_hashed_and_the_owner_gets_a_mail(live, forgotten, wait_until):
    device = httpx.post(f"{live.url}/api/v1/auth/token", json={"email": EMAIL, "password": PASSWORD}).headers
    count = "select count(*) from audit_event where action in ('auth.sign_in_failed', 'auth.account_locked')"
    [(before,)] = live.sql(count)

    def sign_in(password, **headers):
        body = {"email": EMAIL, "password": password}
        return httpx.post(f"{live.url}/api/v1/auth/token", json=body, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(40) as pool:
        statuses = list(pool.map(sign_in, [f"a wrong password {number}" for number in range(40)]))
    assert statuses.count(401) == 5 and set(statuses) <= {401, 423, 429, 503}  # 503: the line of the network was full
    assert live.sql(count) == [(before + 5,)]
    assert (sign_in(PASSWORD), sign_in(PASSWORD, **{"X-Device-Token": device["X-Device-Token"]})) == (423, 200)
    assert live.http.get("/api/v1/auth/me").status_code == 200
    wait_until(lambda: live.mail(EMAIL, "Somebody tried wrong passwords for your account"))


def test_tabs_that_refresh_at_once_stay_signed_in(live):
    body = {"email": EMAIL, "password": PASSWORD}
    used = httpx.post(f"{live.url}/api/v1/auth/token", json=body, timeout=30).json()["refresh_token"]

    def refresh(token):
        return httpx.post(f"{live.url}/api/v1/auth/refresh", json={"refresh_token": token}, timeout=30)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(refresh, [used] * 20))
    assert {answer.status_code for answer in answers} == {200} and len({answer.text for answer in answers}) == 1
    assert refresh(answers[0].json()["refresh_token"]).status_code == 200


def test_who_opens_the_link_without_a_session_sets_a_new_password_by_mail(live, wait_until):
    address, chosen_by_somebody = "me@example.com", "a-long-walk-by-the-sea"
    with httpx.Client(base_url=f"{live.url}/api/v1/auth", timeout=30) as http:
        body = {"email": address, "password": chosen_by_somebody, "tenant_name": "Mine", "accept_terms": True}
        registered = http.post("/register", json=body).json()
        [token] = wait_until(lambda: live.mailed_tokens(address, "Verify your address"))
        assert http.post("/email/verify", json={"token": token}).json()["data"] == {"new_password_required": True}
        session = {"Authorization": f"Bearer {registered['access_token']}"}
        assert http.get("/me", headers=session).status_code == 401
        assert http.post("/token", json={"email": address, "password": chosen_by_somebody}).status_code == 401
        [token] = wait_until(lambda: live.mailed_tokens(address, "Reset your password"))
        assert http.post("/password/confirm", json={"token": token, "new_password": NEW}).status_code == 200
        assert http.post("/token", json={"email": address, "password": NEW}).json()["email_verified"] is True


def test_an_open_stream_ends_within_five_seconds_after_its_session(live):
    """The session is ended behind the back of the edge and of Redis, which is the slowest way."""
    session = live.sign_in()["session_id"]
    try:
        with live.chat("[[deltas=400 delay=50ms]] Tell me everything.") as (_, stream):
            next(stream)
            live.sql("update session set revoked_at = now() where id = %s", session)
            ended_at = time.monotonic()
            events = [event for _, event in stream]
        assert time.monotonic() - ended_at < 6 and not any(event["is_terminal"] for event in events)
    finally:
        live.sign_in()
