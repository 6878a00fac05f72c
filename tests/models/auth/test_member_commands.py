"""The commands `users` and `members`."""

import pytest

from models.auth.users import Membership, User
from models.commands import main
from models.platform.audit import AuditEvent
from tests.support.accounts import add_user, is_open, log_in

WHY = ("--reason", "a ticket")


@pytest.fixture
def user(tenant):
    return add_user("jo@example.com", tenant=tenant, role="member", verified=True)


@pytest.fixture
def run(capsys):
    """run("users", "disable", ...) -> (exit status, standard output, standard error)."""

    def call(*arguments):
        code = main([*arguments, *WHY])
        return code, *capsys.readouterr()

    return call


def roles():
    return [membership.role for membership in Membership.select()]


def test_a_user_is_disabled_and_enabled_with_a_reason(run, user):
    session = log_in(user.email).session_id
    assert run("users", "disable", "JO@example.com") == (0, "jo@example.com is disabled.\n", "")
    assert not is_open(session) and User.get().status == "disabled"
    assert run("users", "enable", "jo@example.com") == (0, "jo@example.com is active.\n", "")
    events = AuditEvent.select().where(AuditEvent.action.startswith("user.")).order_by(AuditEvent.id)
    assert [(event.action, event.reason) for event in events] == [
        ("user.disabled", "a ticket"),
        ("user.enabled", "a ticket"),
    ]
    assert all(event.actor.startswith("operator:") for event in events)


def test_a_user_is_signed_out_everywhere(run, user):
    session = log_in(user.email).session_id
    assert run("users", "sign-out", user.email)[1] == "jo@example.com is active and signed out.\n"
    assert not is_open(session) and is_open(log_in(user.email).session_id)
    assert AuditEvent.get(AuditEvent.action == "user.signed_out").reason == "a ticket"


def test_disabling_twice_is_recorded_once(run, user):
    assert [run("users", "disable", user.email)[0] for _ in range(2)] == [0, 0]
    assert AuditEvent.select().where(AuditEvent.action == "user.disabled").count() == 1


def test_a_member_is_added_changed_and_removed(run, user, tenant):
    add_user("al@example.com", tenant=tenant, role="owner")
    assert run("members", "change-role", "acme", "jo@example.com", "admin")[1] == "jo@example.com is admin of acme.\n"
    assert sorted(roles()) == ["admin", "owner"]
    assert run("members", "remove", "acme", "jo@example.com")[1] == "jo@example.com is no member of acme.\n"
    assert roles() == ["owner"]
    assert run("members", "add", "acme", "jo@example.com", "viewer")[0] == 0
    assert sorted(roles()) == ["owner", "viewer"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("users", "disable", "nobody@example.com"), "No account exists for nobody@example.com"),
        (("members", "remove", "nowhere", "jo@example.com"), "No tenant has the slug or id nowhere"),
        (("members", "add", "acme", "jo@example.com", "admin"), "belongs to this tenant already"),
        (("members", "remove", "acme", "al@example.com"), "does not belong to this tenant"),
        (("members", "remove", "acme", "kim@example.com"), "at least one active owner"),
    ],
)
def test_what_cannot_be_done_is_an_error_and_changes_nothing(run, user, tenant, arguments, message):
    add_user("kim@example.com", tenant=tenant, role="owner")
    add_user("al@example.com", tenant=tenant)
    Membership.delete().where(Membership.user == User.by_email("al@example.com").id).execute()
    code, _, err = run(*arguments)
    assert code == 2 and message in err
    assert sorted(roles()) == ["member", "owner"]
