"""Known devices: which tokens make a device known, and for how many wrong passwords."""

import pytest

from models.auth import devices
from tests.support.accounts import CHEAP_HASHER, PASSWORD, WRONG, add_user, lock, set_password


@pytest.fixture
def sign_in(post, user):
    """sign_in(password, device=...) -> the answer."""

    def send(password=PASSWORD, device=None):
        headers = {"X-Device-Token": device} if device else None
        return post("token", headers, email=user.email, password=password)

    return send


def test_a_device_keeps_its_budget_when_it_signs_in_again(sign_in):
    first = sign_in().headers["X-Device-Token"]
    second = sign_in(device=first).headers["X-Device-Token"]
    for device in (first, second, first, second, first):
        assert sign_in(WRONG, device=device).status_code == 401
    assert {sign_in(device=device).status_code for device in (first, second)} == {423}


def unknown_tokens(sign_in, user, tenant):
    """Tokens that make no device of `user` known."""
    session = sign_in()
    other = add_user("al@example.com", PASSWORD, tenant=tenant, verified=True)
    stale = session.headers["X-Device-Token"]
    set_password(user, CHEAP_HASHER.hash(PASSWORD))  # the same password, set again
    mine = sign_in()
    return {
        "before a password change": stale,
        "of another user": devices.issue(other.id, other.password_hash),
        "an access token": mine.json["access_token"],
        "a refresh token": mine.json["refresh_token"],
        "changed": mine.headers["X-Device-Token"][:-2],
        "nonsense": "a.b.c",
        "not ASCII": "d\xe9vice",
    }


def test_only_a_token_of_this_user_and_this_password_makes_a_device_known(sign_in, user, tenant):
    tokens = unknown_tokens(sign_in, user, tenant)
    lock(user)
    assert {name: sign_in(device=token).status_code for name, token in tokens.items()} == dict.fromkeys(tokens, 423)


def test_an_expired_device_token_makes_no_device_known(sign_in, user, configure):
    configure(auth_known_device_days=-1)
    token = devices.issue(user.id, user.password_hash)
    lock(user)
    assert sign_in(device=token).status_code == 423


def test_a_device_token_is_neither_an_access_nor_a_refresh_token(sign_in, post, http):
    device = sign_in().headers["X-Device-Token"]
    assert http.simulate_get("/api/v1/auth/me", headers={"Authorization": f"Bearer {device}"}).status_code == 401
    assert post("refresh", refresh_token=device).status_code == 401


def test_the_api_document_names_the_device_token(http):
    paths = http.simulate_get("/openapi.json").json["paths"]
    sign_in = paths["/api/v1/auth/token"]["post"]
    assert "X-Device-Token" in [parameter["name"] for parameter in sign_in["parameters"]]
    assert "X-Device-Token" in sign_in["responses"]["200"]["headers"]
    for path in ("password/confirm", "password/change"):
        assert "X-Device-Token" in paths[f"/api/v1/auth/{path}"]["post"]["responses"]["200"]["headers"]


def test_scripts_of_allowed_origins_can_read_the_device_token(http, user):
    headers = {"Origin": "http://localhost:3000"}
    body = {"email": user.email, "password": PASSWORD}
    answer = http.simulate_post("/api/v1/auth/token", json=body, headers=headers)
    assert "X-Device-Token" in answer.headers["Access-Control-Expose-Headers"] and answer.headers["X-Device-Token"]
    headers |= {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "X-Device-Token"}
    answer = http.simulate_options("/api/v1/auth/token", headers=headers)
    assert answer.headers["Access-Control-Allow-Headers"] in ("*", "X-Device-Token")
