"""A password reset through real processes: by way of a worker to the mail server, and back with its token."""

import email
import email.policy
import re

import pytest

from devstack.stack import EMAIL, PASSWORD

NEW = "violet tractor umbrella"


@pytest.fixture
def restored(live):
    """The demo user's password is what it was afterwards, and the client signed in."""
    [(before,)] = live.sql("select password_hash from users where email = %s", EMAIL)
    yield
    live.sql("update users set password_hash = %s where email = %s", before, EMAIL)
    live.sql("delete from password_history where user_id = (select id from users where email = %s)", EMAIL)
    live.sign_in()


def mails(live):
    """What the mail server has kept so far, by subject."""
    files = (live.stack.state / "mail").glob("*.eml")
    found = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
    return {message["Subject"]: message for message in found}


def tokens(live):
    """Those of the reset mail; none as long as its file is not there, or not whole."""
    message = mails(live).get("longshore: Reset your password")
    return set(re.findall(r"\b[0-9a-f]{32}\.[0-9a-f]{64}\b", message.get_content())) if message else set()


def test_a_forgotten_password_is_set_anew_by_the_token_that_comes_by_mail(live, restored, wait_until):
    def token(password):
        return live.http.post("/api/v1/auth/token", json={"email": EMAIL, "password": password}).status_code

    assert live.http.get("/api/v1/auth/me").status_code == 200
    assert live.http.post("/api/v1/auth/password/forgot", json={"email": EMAIL}).status_code == 202
    [found] = wait_until(lambda: tokens(live))
    body = {"token": found, "new_password": NEW}
    assert live.http.post("/api/v1/auth/password/confirm", json=body).status_code == 200
    assert live.http.get("/api/v1/auth/me").status_code == 401, "the sessions from before have ended"
    assert (token(PASSWORD), token(NEW)) == (401, 200)
    assert live.http.post("/api/v1/auth/password/confirm", json=body).status_code == 400
    wait_until(lambda: "longshore: Your password was changed" in mails(live))
    assert not live.sql("select 1 from job where args::text like %s or error like %s", f"%{found}%", f"%{found}%")
