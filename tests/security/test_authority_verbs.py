"""The verbs that change what users may do: nobody else writes it, and a tenant keeps an owner."""

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models.auth import token_refresh
from models.auth.sessions import Session
from models.auth.tenants import Tenant
from models.auth.users import LastOwner, Membership, PasswordNotTheirs, User
from models.platform import audit
from models.platform.database import release, transaction
from tests.support.accounts import log_in
from tests.support.changes import (
    change_role,
    committed,
    disable,
    membership_of,
    remove,
)

# ---------------------------------------------------------------- the last owner


def test_the_last_active_owner_stays(signed):
    (_, first), (_, second) = signed("owner"), signed("owner")
    disable(second)
    for change in (remove, lambda user: change_role(user, "admin")):
        with pytest.raises(LastOwner):
            change(first)
    remove(second)
    change_role(first, "owner")
    assert membership_of(first).role == "owner"


@pytest.mark.parametrize("change", [remove, lambda user: change_role(user, "member")])
def test_of_owners_who_all_leave_at_once_one_stays(signed, change):
    owners = [signed("owner")[1] for _ in range(6)]
    release()

    def leave(user):
        try:
            change(user)
        except LastOwner:
            return "stayed"
        finally:
            release()
        return "left"

    with ThreadPoolExecutor(6) as pool:
        outcomes = sorted(pool.map(leave, owners))
    assert outcomes == ["left"] * 5 + ["stayed"]
    assert Membership.select().where(Membership.role == "owner").count() == 1


def test_whoever_set_a_members_password_gains_nothing_from_their_rise(signed, owner):
    _, user = signed("member")
    with transaction():
        audit.record("auth.password_reset", "user:an-admin", f"user:{user.id}")
    with pytest.raises(PasswordNotTheirs):
        change_role(user, "owner")
    with pytest.raises(PasswordNotTheirs):
        committed(Membership.add, user.id, Tenant.create(slug="other", name="Other").id, "viewer")
    change_role(user, "viewer")
    assert membership_of(user).role == "viewer"


def test_refreshes_and_changes_of_the_same_user_do_not_deadlock(signed, owner):
    _, user = signed("member")
    tokens = [log_in(user.email).refresh_token for _ in range(4)]
    release()

    def refresh(token):
        try:
            for _ in range(10):
                token = token_refresh.refresh(token).refresh_token
        finally:
            release()

    def change(user):
        try:
            for role in ("admin", "member") * 10:
                change_role(user, role)
                with transaction():
                    User.lock(user.id)
                    Session.update(last_seen_at=Session.last_seen_at).where(Session.user_id == user.id).execute()
        finally:
            release()

    with ThreadPoolExecutor(6) as pool:
        work = [*(pool.submit(refresh, token) for token in tokens), *(pool.submit(change, user) for _ in range(2))]
    for done in work:
        done.result()


# ---------------------------------------------------------------- who writes what decides

ROOT = Path(__file__).parents[2]
WRITERS = {  # the columns that decide about rights, and the module with their verbs
    "User": ("models/auth/users.py", {"status", "email_verified_at"}),
    "Membership": ("models/auth/users.py", {"role"}),
    "OperatorGrant": ("models/auth/operators.py", {"scope"}),
}


def modules():
    """(path, syntax tree) of every module of the product."""
    for folder in ("models", "edge", "workers", "scheduler", "devstack"):
        for path in (ROOT / folder).rglob("*.py"):
            if "peers" not in path.parts:
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def names(tree):
    """The classes that a module imports or defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef):
            yield node.name


def writes(tree, model, columns):
    """The statements of a module that write these columns of this model."""
    for node in ast.walk(tree):
        if (isinstance(node, ast.Call) and calls_for(node, model, columns)) or (
            isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in columns
        ):
            yield ast.unparse(node)


def calls_for(call, model, columns):
    owner, _, verb = ast.unparse(call.func).rpartition(".")
    if owner == model and verb.startswith(("create", "insert", "delete", "replace", "get_or_create")):
        return True
    if owner == model and verb == "update" and columns & {word.arg for word in call.keywords}:
        return True
    return verb in ("update", "save") and any(f"{model}.{name}" in ast.unparse(call) for name in columns)


@pytest.mark.parametrize("model", WRITERS)
def test_only_the_verbs_write_what_decides_about_rights(model):
    home, columns = WRITERS[model]
    found = {path: list(writes(tree, model, columns)) for path, tree in modules() if model in names(tree)}
    assert found[home] and {path for path, statements in found.items() if statements} == {home}, found


def test_no_statement_in_sql_writes_what_decides_about_rights():
    columns = r"update users set ((?!from|where).)*\b(status|email_verified_at) ="
    rows = r"(update|insert into|delete from) (membership|operator_grant)\b"
    written = re.compile(f"{columns}|{rows}")
    texts = {
        (path, node.value)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and written.search(" ".join(node.value.split()))
    }
    assert {path for path, _ in texts if "/migrations/" not in path} == set()
