"""The commands `operators` and `audit`."""

import io
import json

import pytest

from models.auth import authority, operators, token_refresh
from models.auth.tenants import Tenant
from models.auth.users import User
from models.commands import main
from models.platform.audit import AuditEvent
from models.platform.principal import OPERATOR
from tests.support.accounts import add_user, log_in

PASSWORD = "a-long-walk-by-the-sea"


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", PASSWORD, tenant=tenant, role="viewer", verified=True)


@pytest.fixture
def run(capsys):
    """run("grant", "jo@example.com") -> (exit status, standard output, standard error)."""

    def call(*arguments, command="operators"):
        code = main([command, *arguments])
        return code, *capsys.readouterr()

    return call


def scopes():
    return set(log_in("jo@example.com", PASSWORD).scopes)


def test_granted_scopes_are_named_by_tokens_from_the_next_login_or_refresh_on(run, user):
    before = log_in("jo@example.com", PASSWORD)
    code, out, _ = run("grant", "JO@example.com")
    assert code == 0 and "jo@example.com has auth:invites auth:signup_requests" in out
    assert set(OPERATOR) <= scopes() and "support:*" not in scopes()
    assert not set(OPERATOR) & set(before.scopes)
    assert set(OPERATOR) <= set(token_refresh.refresh(before.refresh_token).scopes)


def test_an_address_that_nobody_has_verified_is_not_granted_anything(run, tenant):
    add_user("al@example.com", tenant=tenant)
    code, _, err = run("grant", "al@example.com")
    assert code == 2 and "al@example.com has not been verified" in err
    assert operators.list_operators() == []


def test_a_grant_without_effect_is_listed_as_such(run, user):
    run("grant", "jo@example.com", "--scope", "status:operate")
    User.update(email_verified_at=None).execute()
    assert run("list")[1] == "jo@example.com  status:operate  (without effect)\n"


def test_granting_twice_changes_nothing(run, user):
    assert run("grant", "jo@example.com", "--scope", "status:operate")[0] == 0
    assert run("grant", "jo@example.com", "--scope", "status:operate", "--scope", "support:*")[0] == 0
    assert operators.scopes_of(user.id).count("status:operate") == 1
    assert {"status:operate", "support:*"} <= scopes() and "auth:invites" not in scopes()


def test_revoked_scopes_end_at_once_and_the_sessions_go_on(run, user):
    run("grant", "jo@example.com")
    tokens = log_in("jo@example.com", PASSWORD)
    code, out, _ = run("revoke", "jo@example.com", "--scope", "platform:operator")
    assert code == 0 and "jo@example.com has auth:invites" in out
    assert "platform:operator" not in authority.look_up_one(tokens.session_id).scopes
    assert "platform:operator" not in scopes() and "auth:invites" in scopes()
    run("revoke", "jo@example.com")
    assert operators.list_operators() == []


@pytest.mark.parametrize("command", ["grant", "revoke"])
def test_an_unknown_address_is_an_error(run, clean, command):
    code, _, err = run(command, "nobody@example.com")
    assert code == 2 and "No account exists for nobody@example.com" in err


def test_revoking_a_scope_the_user_does_not_have_is_an_error(run, user):
    code, _, err = run("revoke", "jo@example.com", "--scope", "support:*")
    assert code == 2 and "jo@example.com does not hold support:*" in err


def test_an_unknown_scope_is_refused_and_the_valid_ones_are_listed(run, user, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["operators", "grant", "jo@example.com", "--scope", "root"])
    assert stop.value.code == 2 and "platform:operator" in capsys.readouterr().err


def test_the_first_operator_gets_a_tenant_of_their_own(run, clean, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert run("create", "Jo@Example.com", "--tenant", "Platform", "--password-stdin")[0] == 0
    tokens = log_in("jo@example.com", PASSWORD)
    assert tokens.email_verified and set(OPERATOR) <= set(tokens.scopes)
    assert Tenant.get().slug == "platform"
    assert json.loads(run("list", "--json")[1]) == [{"email": "jo@example.com", "scopes": sorted(OPERATOR)}]


def test_without_a_terminal_the_command_fails_instead_of_asking_for_a_password(run, clean, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    code, _, err = run("create", "jo@example.com")
    assert code == 2 and "--password-stdin" in err and User.select().count() == 0


@pytest.mark.parametrize(
    ("email", "password", "message"),
    [("kim@example.com", "password", "at least 14 characters"), ("jo@example.com", PASSWORD, "already registered")],
)
def test_a_failed_account_creation_leaves_nothing_behind(run, user, monkeypatch, email, password, message):
    monkeypatch.setattr("sys.stdin", io.StringIO(password))
    code, _, err = run("create", email, "--password-stdin")
    assert code == 2 and message in err
    assert (Tenant.select().count(), User.select().count(), operators.list_operators()) == (1, 1, [])


def test_operators_are_listed_with_their_scopes(run, user):
    assert run("list")[1] == "There are no operators.\n"
    run("grant", "jo@example.com", "--scope", "status:operate")
    assert run("list")[1] == "jo@example.com  status:operate\n"
    assert [operator.user.email for operator in operators.operators_with("status:operate")] == ["jo@example.com"]
    assert operators.operators_with("auth:invites") == []


def test_grants_and_revocations_are_audited(run, user):
    run("grant", "jo@example.com", "--scope", "status:operate")
    run("revoke", "jo@example.com")
    granted, revoked = AuditEvent.select().where(AuditEvent.action.startswith("operator.")).order_by(AuditEvent.id)
    assert (granted.action, granted.subject) == ("operator.granted", f"user:{user.id}")
    assert granted.actor.startswith("operator:") and granted.details == {"scopes": ["status:operate"]}
    assert revoked.action == "operator.revoked"


def test_the_audit_log_filters_by_actor_subject_action_and_tenant(run, user, tenant):
    session = log_in("jo@example.com", PASSWORD).session_id
    run("grant", "jo@example.com")

    def actions(*arguments):
        code, out, _ = run(*arguments, "--json", command="audit")
        assert code == 0
        return [json.loads(line)["action"] for line in out.splitlines()]

    assert actions() == ["operator.granted", "auth.signed_in"]
    assert actions("--actor", f"user:{user.id}") == actions("--tenant", str(tenant.id)) == ["auth.signed_in"]
    assert actions("--subject", f"session:{session}") == actions("--action", "auth.") == ["auth.signed_in"]
    assert actions("--limit", "1") == ["operator.granted"]
    line = run("--action", "auth.", command="audit")[1]
    assert f"user:{user.id} -> session:{session}" in line


def test_old_audit_events_are_purged(user):
    log_in("jo@example.com", PASSWORD)
    AuditEvent.update(created_at="2020-01-01T00:00:00Z").execute()
    log_in("jo@example.com", PASSWORD)
    assert AuditEvent.purge(400) == 1
    assert AuditEvent.select().count() == 1
