"""After any sequence of delegations, nobody holds anything that they did not hold before or that no shell gave them.

The sequences are random; the functions, the tables and the catalogue's rules are the real ones.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from models.auth import operators, password_changes, service_token_issuing
from models.auth.password_changes import ResetNotAllowed, UserNotFound
from models.auth.service_account_catalogue import ServiceAccount
from models.auth.service_token_issuing import ServiceTokenNotAllowed, ServiceTokenRequest
from models.auth.service_tokens import ServiceToken
from models.auth.tenants import Tenant
from models.auth.users import Membership, PasswordNotTheirs, User
from models.platform.authorization import OPERATOR_GRANT, SERVICE_TOKEN_ISSUE, elsewhere
from models.platform.database import database, release, transaction
from models.platform.errors import BadRequest, Forbidden
from models.platform.principal import GRANTS, RANK, Principal, Root, scope_satisfies, scopes_for

SHELL = Root("operator:test")
USERS, TENANTS = range(4), range(2)
CATALOGUE_SCOPES = [
    "conversations:read",
    "conversations:*",
    "billing:manage",
    "platform:operator",
    "status:operate",
    "support:*",
]
REFUSED = (Forbidden, BadRequest, ResetNotAllowed, UserNotFound, ServiceTokenNotAllowed, PasswordNotTheirs)

user = st.sampled_from(USERS)
grants = st.lists(st.sampled_from(sorted(GRANTS)), min_size=1, max_size=2, unique=True)
scopes = st.lists(st.sampled_from(CATALOGUE_SCOPES), min_size=1, max_size=2, unique=True)
step = st.one_of(
    st.tuples(st.just("shell"), user, grants),
    st.tuples(st.just("grant"), user, user, grants),
    st.tuples(st.just("issue"), user, st.sampled_from([*TENANTS, None]), scopes, st.booleans()),
    st.tuples(st.just("reset"), user, user),
    st.tuples(st.just("choose"), user),
)
roles = st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(sorted(RANK))), min_size=4, max_size=4)


@pytest.fixture
def world(clean, configure, monkeypatch):
    """A function that makes a fresh World: tests of properties use a fixture many times."""
    for name in ("service_issue_rate_limit_per_minute", "service_issue_global_rate_limit_per_minute"):
        configure(**{name: 0})
    accounts = {
        f"account-{tenant}": ServiceAccount(
            description="any scope", scopes=CATALOGUE_SCOPES, tenant=tenant, max_lifetime=60
        )
        for tenant in ("required", "forbidden")
    }
    monkeypatch.setattr(service_token_issuing, "catalogue", lambda: accounts)
    return World


class World:
    """Users of two tenants. What each is entitled to: (tenant or None for all, scope), from memberships and the shell."""

    def __init__(self, memberships):
        database.execute_sql("truncate tenant, users, audit_event cascade")
        self.tenants = [Tenant.create(slug=f"t{number}", name="T") for number in TENANTS]
        with transaction():
            self.users = [
                User.add(f"u{number}@example.com", "hash 0", tenant=self.tenants[tenant], role=role, verified=True)
                for number, (tenant, role) in enumerate(memberships)
            ]
        self.entitled = [self.rights_of(number) for number in USERS]
        self.passwords, self.setters = 0, {}  # setters: who has set whose password

    def membership(self, number):
        return Membership.get(Membership.user == self.users[number].id)

    def rights_of(self, number):
        """What signing in as this user gives."""
        membership = self.membership(number)
        here = {(membership.tenant_id, scope) for scope in scopes_for(membership.role)}
        return here | {(None, scope) for scope in operators.scopes_of(self.users[number].id)}

    def principal(self, number):
        membership = self.membership(number)
        found = frozenset((*scopes_for(membership.role), *operators.scopes_of(self.users[number].id)))
        return Principal(self.users[number].id, membership.tenant_id, membership.role, found, None, True)

    def identities(self, number, seen=None):
        """The users as whom this one can sign in: themselves, and whose password they have set, and so on."""
        seen = seen if seen is not None else set()
        if number not in seen:
            seen.add(number)
            for target, setter in self.setters.items():
                if setter == number:
                    self.identities(target, seen)
        return seen

    def held(self, number):
        """All that this user can do now, in person, as somebody else, or through tokens that any of them issued."""
        found = set()
        for identity in self.identities(number):
            found |= self.rights_of(identity)
            issued = ServiceToken.select().where(ServiceToken.issued_by == f"user:{self.users[identity].id}")
            found |= {(token.tenant_id, scope) for token in issued for scope in token.scopes}
        return found

    def run(self, steps):
        for name, *arguments in steps:
            with suppress(*REFUSED):
                getattr(self, name)(*arguments)
            for number in USERS:
                self.check(number)

    def check(self, number):
        for tenant_id, scope in self.held(number):
            mine = {held for where, held in self.entitled[number] if where is None or where == tenant_id}
            assert scope_satisfies(mine, scope), (number, tenant_id, scope)

    # ------------------------------------------------------------- steps

    def shell(self, number, scopes):
        operators.grant(self.users[number].email, scopes, by=SHELL)
        self.entitled[number] |= {(None, scope) for scope in scopes}

    def grant(self, giver, receiver, scopes):
        by = elsewhere(self.principal(giver), OPERATOR_GRANT, None, "a colleague")
        operators.grant(self.users[receiver].email, scopes, by=by)
        given = {(None, scope) for scope in scopes if scope_satisfies({s for _, s in self.entitled[giver]}, scope)}
        self.entitled[receiver] |= given

    def issue(self, number, tenant, scopes, override):
        by = self.principal(number)
        if override:
            by = elsewhere(by, SERVICE_TOKEN_ISSUE, None, "a call")
        tenant_id = None if tenant is None else str(self.tenants[tenant].id)
        account = "account-required" if tenant_id else "account-forbidden"
        service_token_issuing.issue(ServiceTokenRequest(account, scopes, tenant_id, force=True), by=by)

    def reset(self, number, target):
        admin = self.principal(number)
        found = password_changes.user_to_reset(admin, self.users[target].id)
        self.passwords += 1
        with transaction():
            password_changes.reset_by_admin(admin, found, f"hash {self.passwords}")
        self.setters[target] = number

    def choose(self, number):
        self.passwords += 1
        found = User.get_by_id(self.users[number].id)
        with transaction():
            password_changes.set_password(found, f"hash {self.passwords}", "password_change", by=f"user:{found.id}")
        self.setters.pop(number, None)


OWNER_AND_MEMBER = [(0, "owner"), (0, "member"), (1, "owner"), (1, "viewer")]


@example(OWNER_AND_MEMBER, [("shell", 1, ["support:*"]), ("reset", 0, 1)])
@example(OWNER_AND_MEMBER, [("reset", 0, 1), ("shell", 1, ["support:*"])])
@example(OWNER_AND_MEMBER, [("shell", 2, ["platform:operator"]), ("issue", 2, None, ["support:*"], True)])
@example(OWNER_AND_MEMBER, [("shell", 2, ["platform:operator"]), ("issue", 2, 0, ["conversations:read"], True)])
@example(OWNER_AND_MEMBER, [("shell", 2, ["platform:operator"]), ("grant", 2, 0, ["support:*"])])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(roles, st.lists(step, max_size=8))
def test_delegation_gives_nobody_more_than_they_were_given(world, memberships, steps):
    world(memberships).run(steps)


def test_the_sequences_reach_what_they_should(world):
    """The steps do succeed where they may: otherwise the property would prove nothing."""
    found = world(OWNER_AND_MEMBER)
    found.run(
        [
            ("shell", 2, ["support:*"]),
            ("grant", 2, 0, ["platform:operator"]),
            ("issue", 0, 0, ["conversations:*"], False),  # refused: an owner has only some of these
            ("issue", 0, 0, ["billing:manage"], False),
            ("issue", 2, 0, ["support:*"], True),
            ("reset", 0, 1),
        ]
    )
    assert operators.scopes_of(found.users[0].id) == ["platform:operator"]
    assert sorted(token.scope_key for token in ServiceToken.select()) == ["billing:manage", "support:*"]
    assert found.setters == {1: 0}


def test_a_reset_and_a_grant_at_the_same_moment_never_both_succeed(world):
    """Whichever commits first stops the other one: an admin must not know the password of an operator."""
    outcomes = set()
    for _ in range(10):
        found = world(OWNER_AND_MEMBER)
        member, barrier = found.users[1], Barrier(2)

        def attempt(act, barrier=barrier):
            barrier.wait()
            try:
                with suppress(*REFUSED):
                    return act()
            finally:
                release()

        with ThreadPoolExecutor(2) as pool:
            reset = pool.submit(attempt, lambda found=found: found.reset(0, 1))
            grant = pool.submit(attempt, lambda found=found: found.shell(1, ["support:*"]))
            reset.result(), grant.result()
        is_reset = User.get_by_id(member.id).password_hash != member.password_hash
        outcomes.add((is_reset, bool(operators.scopes_of(member.id))))
    assert outcomes <= {(True, False), (False, True)} and outcomes
