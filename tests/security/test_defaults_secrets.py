"""Safe by default: secrets can be rotated and are never shown."""

import pytest

from models.platform import startup_checks
from models.platform.settings import Settings
from tests.support.production import SAFE, STARTS, python, settings_with

# ---------------------------------------------------------------- rotation of SECRET_KEY

OLD, NEW_KEY = "old root secret", "new root secret"


@pytest.fixture
def rotate(configure):
    """rotate() makes a new key; rotate(keep_old=False) stops accepting the old one."""

    def change(keep_old=True):
        configure(secret_key=NEW_KEY, secret_key_previous=OLD if keep_old else None)

    configure(secret_key=OLD)
    return change


def test_a_refresh_token_survives_a_rotation(user, post, rotate):
    from tests.support.accounts import log_in

    first = log_in(user.email)
    lost = log_in(user.email)
    rotate()
    second = post("refresh", refresh_token=first.refresh_token)
    assert second.status_code == 200
    rotate(keep_old=False)
    assert post("refresh", refresh_token=lost.refresh_token).status_code == 401
    assert post("refresh", refresh_token=second.json["refresh_token"]).status_code == 200


def test_a_service_accounts_token_survives_a_rotation(http, tenant, rotate, configure):
    configure(environment="development", service_issue_dev_local=True)
    body = {"account": "analytics-batch", "scopes": ["conversations:read"], "tenant_id": str(tenant.id)}
    headers = {"Authorization": "Bearer dev-local"}
    token = http.simulate_post("/api/v1/auth/service-accounts/issue", json=body, headers=headers).json["refresh_token"]
    exchange = lambda: http.simulate_post("/api/v1/auth/refresh", json={"refresh_token": token})  # noqa: E731
    rotate()
    assert exchange().status_code == 200
    rotate(keep_old=False)
    assert exchange().status_code == 401


def test_an_invite_and_its_mail_survive_a_rotation(clean, rotate):
    from models.auth.invites import Invite, InviteNotFound
    from models.platform.database import transaction
    from models.platform.principal import Principal

    with transaction():
        invite = Invite.issue(Principal(None, None, "owner", account="test"), email="jo@example.com")
    token = invite.token
    rotate()
    with transaction():
        assert Invite.lock_by_token(token).id == invite.id
    assert Invite.get_by_id(invite.id).token == token, "the mail job computes the token"
    rotate(keep_old=False)
    with transaction():
        assert Invite.lock_by_token(token) is None
    with pytest.raises(InviteNotFound):
        _ = Invite.get_by_id(invite.id).token


def test_a_mailed_link_survives_a_rotation(user, rotate):
    from models.auth import email_tokens

    token = email_tokens.create(user.id, email_tokens.RESET_PASSWORD, 30)
    rotate()
    assert email_tokens.user_id_of(token, email_tokens.RESET_PASSWORD) == user.id
    rotate(keep_old=False)
    with pytest.raises(email_tokens.InvalidEmailToken):
        email_tokens.user_id_of(token, email_tokens.RESET_PASSWORD)


def test_a_used_up_limit_survives_a_rotation(user, post, rotate, configure):
    configure(password_reset_email_rate_limit_per_hour=1, password_reset_ip_rate_limit_per_hour=0)
    answers = {post("password/forgot", email=user.email).status_code for _ in range(2)}
    rotate()
    assert post("password/forgot", email=user.email).status_code in answers
    from models.platform.redis import redis_client

    counted = list(redis_client().scan_iter("*password_reset_email*"))
    assert len(counted) == 1, "one counter before and after"


# ---------------------------------------------------------------- secrets are never shown

MARKER = "marker"


def marked():
    """(settings in which every secret is a marker, the markers)."""
    url = "{}://user:marker-{}-pw@127.0.0.1:1/{}"
    values = {
        name: f"marker-{name}-0123456789abcdef0123456789"
        for name, field in Settings.model_fields.items()
        if "Secret" in str(field.annotation)
    }
    values |= {
        "database_url": url.format("postgresql", "database", "db"),
        "redis_url": url.format("redis", "redis", "0"),
        "broker_url": url.format("redis", "broker", "1"),
        "smtp_url": url.format("smtp", "smtp", ""),
        "mcp_tools": '[{"name": "w", "server_label": "w", "server_url": "https://w", "authorization": "marker-mcp"}]',
    }
    return settings_with(**values), values


def test_everything_that_may_hold_a_secret_is_a_secret():
    suspicious = ("secret", "token", "password", "api_key", "_url", "mcp_tools")
    harmless = {
        "app_public_url",
        "openai_base_url",
        "embedding_base_url",
        "resend_base_url",
        "slack_api_base_url",
        "status_page_url",
        "agent_context_tokens",
    }  # addresses, and the number of a model's tokens
    plain = [
        name
        for name, field in Settings.model_fields.items()
        if any(word in name for word in suspicious) and "Secret" not in str(field.annotation)
        if name not in harmless and not name.endswith(("_minutes", "_seconds", "_hour", "_day", "_count"))
    ]
    assert plain == []


def test_no_repr_and_no_dump_shows_a_secret():
    found, _ = marked()
    shown = [
        repr(found),
        str(found),
        str(found.model_dump()),
        found.model_dump_json(),
        str(vars(found)),
        f"{found!r:.9999}",
    ]
    assert not [text for text in shown if MARKER in text]


def test_no_refusal_shows_a_secret():
    found, values = marked()
    assert startup_checks.problems(found), "an SMTP_URL at this machine, and so on"
    assert MARKER not in "\n".join(startup_checks.problems(found))
    refused = python("-m", "models", "check", **{**SAFE, **values, "database_url": "postgresql:/user:marker@h"})
    assert refused.returncode == 1 and "DATABASE_URL" in refused.stdout, refused.stdout
    assert MARKER not in refused.stdout + refused.stderr


def test_no_log_line_shows_a_secret():
    """A process logs every secret, in messages, fields, and tracebacks."""
    _, values = marked()
    code = """
import logging
from models.platform import logs
from models.platform.settings import settings
logs.configure("edge")
for secret in settings.secret_values():
    logging.getLogger("x").warning("told %s", secret, extra={"reason": f"<{secret}>", "password": secret})
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("x").exception("failed")
print(len(settings.secret_values()))
"""
    for log_format in ("json", "console"):
        ran = python("-c", code, **{**SAFE, **values, "LOG_FORMAT": log_format})
        assert ran.returncode == 0 and int(ran.stdout.splitlines()[-1]) >= len(values), ran.stderr
        assert MARKER not in ran.stdout + ran.stderr and "[redacted]" in ran.stdout


@pytest.mark.parametrize("process", ["worker", "release"])
def test_a_process_that_cannot_reach_its_database_shows_no_secret(process):
    _, values = marked()
    safe = {"database_url": "postgresql://user:marker-0123456789@127.0.0.1:1/db", "environment": "development"}
    ran = python("-c", STARTS[process], **{**SAFE, **values, **safe, "SERVICE_ISSUE_VERIFIER": "off"})
    assert MARKER not in ran.stdout + ran.stderr


def test_the_stored_error_of_a_failed_job_shows_no_secret(user, configure, monkeypatch, caplog):
    from models.jobs.ledger import Job
    from models.platform.database import transaction
    from workers.broker import broker
    from workers.gateways import smtp
    from workers.jobs import MAIL_NOTICE, enqueue
    from workers.mail import accounts

    def connection():
        raise OSError(f"cannot reach {smtp.settings.smtp_url.get_secret_value()}")

    assert accounts, "the actor is known"
    configure(smtp_url="smtp://user:marker-0123456789@mail.example.com:25")
    monkeypatch.setattr(smtp, "connection", connection)
    with transaction():
        job = enqueue(MAIL_NOTICE, user_id=str(user.id), notice="password_changed")
    broker.get_actor(job.name).fn(str(job.id))
    assert Job.get_by_id(job.id).error == "MailFailed: OSError: cannot reach [redacted]"
