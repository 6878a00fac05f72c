"""The kernel of authorization: properties that hold for every caller and every action of the table."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.platform import authorization
from models.platform.authorization import (
    PUBLIC,
    SERVICE_TOKEN_ISSUE,
    Action,
    OutOfReach,
    OverrideReasonMissing,
    OverrideRefused,
    Rights,
    Rows,
    actions,
    elsewhere,
    may,
    require,
    rows,
)
from models.platform.principal import GRANTS, MANAGE, RANK, Principal, Root, scope_satisfies, scopes_for

HOME, OTHER = UUID(int=1), UUID(int=2)
ME, SOMEBODY = UUID(int=3), UUID(int=4)
SCOPES = sorted({*MANAGE, *GRANTS, "auth:*", "conversations:*", "chat:write", "nonsense"})
ACTIONS = sorted((action for action in actions().values() if not action.public), key=lambda action: action.name)
some_scopes = st.frozensets(st.sampled_from(SCOPES))
guarded_action = st.sampled_from(ACTIONS)
role = st.sampled_from(sorted(RANK, key=RANK.__getitem__))
user = st.builds(
    Principal,
    st.just(ME),
    st.sampled_from([HOME, None]),
    role,
    some_scopes,
    email_verified=st.booleans(),
)
machine = st.builds(
    Principal,
    st.none(),
    st.sampled_from([HOME, None]),
    role,
    some_scopes,
    account=st.just("machine"),
    email_verified=st.just(True),
)
caller = user | machine


def as_member(role, grants=frozenset(), tenant=HOME):
    """A verified user as their token describes them."""
    return Principal(ME, tenant, role, frozenset((*scopes_for(role), *grants)), None, True)


member = st.builds(as_member, role, st.frozensets(st.sampled_from(sorted(GRANTS))))


class Row:
    owner = "user_id"

    def __init__(self, tenant_id, user_id):
        self.tenant_id, self.user_id = tenant_id, user_id


class SharedRow(Row):
    owner = None


row = st.builds(
    lambda kind, tenant, owner: kind(tenant, owner),
    st.sampled_from([Row, SharedRow]),
    st.sampled_from([HOME, OTHER, None]),
    st.sampled_from([ME, SOMEBODY, None]),
)
rights = st.builds(Rights, st.sampled_from([HOME, OTHER, None]), some_scopes, st.none() | role)
resource = st.none() | row | rights


def everywhere(principal, action):
    """The principal, and what they become elsewhere with a reason, if they have the grant."""
    yield principal
    for tenant_id in (HOME, OTHER, None):
        try:
            yield elsewhere(principal, action, tenant_id, "a reason")
        except OverrideRefused:
            return


# ---------------------------------------------------------------- more never allows less


@given(user, role, guarded_action, resource)
def test_a_higher_role_may_all_that_a_lower_one_may(principal, higher, action, resource):
    assume(RANK[higher] >= RANK[principal.role])
    if may(principal, action, resource):
        assert may(replace(principal, role=higher), action, resource)


@given(caller, some_scopes, guarded_action, resource)
def test_more_scopes_may_all_that_fewer_may(principal, more, action, resource):
    if may(principal, action, resource):
        assert may(replace(principal, scopes=principal.scopes | more), action, resource)


@given(caller, guarded_action)
def test_without_the_scope_nobody_may(principal, action):
    if action.scope and not scope_satisfies(principal.scopes, action.scope):
        assert not may(principal, action)


@given(caller, guarded_action, rights, some_scopes)
def test_who_may_give_some_rights_may_give_fewer(principal, action, given_rights, kept):
    if may(principal, action, given_rights):
        assert may(principal, action, replace(given_rights, scopes=given_rights.scopes & kept, role=None))


# ---------------------------------------------------------------- other tenants


@given(caller, guarded_action, row)
def test_rows_of_another_tenant_are_out_of_reach_without_a_reason(principal, action, row):
    assume(row.tenant_id != principal.tenant_id and action.rows is not Rows.ALL)
    assert not may(principal, action, row)


@given(caller, guarded_action, rights)
def test_rights_in_another_tenant_are_not_given_without_a_reason(principal, action, rights):
    assume(rights.tenant_id is None or rights.tenant_id != principal.tenant_id)
    assert not may(principal, action, rights)


@given(caller, guarded_action, st.sampled_from([OTHER, None]), st.sampled_from([None, "", "  ", "\t\n"]))
def test_nobody_acts_elsewhere_without_a_reason(principal, action, tenant_id, reason):
    with pytest.raises((OverrideReasonMissing, OverrideRefused)):
        elsewhere(principal, action, tenant_id, reason)


@given(caller, guarded_action)
def test_nobody_acts_elsewhere_without_the_actions_grant_and_nothing_but_grants_goes_along(principal, action):
    try:
        acting = elsewhere(principal, action, OTHER, " a call \n")
    except OverrideRefused:
        assert action.elsewhere is None or not scope_satisfies(principal.scopes, action.elsewhere)
        return
    assert scope_satisfies(principal.scopes, action.elsewhere)
    assert acting.scopes == principal.scopes & GRANTS
    assert (acting.tenant_id, acting.override, acting.subject) == (OTHER, "a call", principal.subject)
    assert acting.role == "owner"


@given(caller, guarded_action, guarded_action)
def test_whoever_acts_elsewhere_may_only_do_what_can_be_done_there(principal, asked, done):
    for acting in list(everywhere(principal, asked))[1:]:
        if done.elsewhere is None or not scope_satisfies(principal.scopes, done.elsewhere):
            assert not may(acting, done) and rows(acting, done) is Rows.NONE


# ---------------------------------------------------------------- machines


@given(machine, guarded_action, role, resource)
def test_a_machine_has_no_role(principal, action, role, resource):
    assert may(principal, action) == may(replace(principal, role=role), action)
    if not isinstance(resource, Rights):
        assert may(principal, action, resource) == may(replace(principal, role=role), action, resource)


@given(machine, guarded_action)
def test_a_machine_in_its_tenant_may_what_its_scopes_say_and_no_more(principal, action):
    principal = replace(principal, tenant_id=HOME)
    expected = action.machines and scope_satisfies(principal.scopes, action.scope)
    assert may(principal, action) is expected


def test_an_action_of_machines_needs_a_scope():
    with pytest.raises(ValueError, match="machines have nothing else"):
        Action("greeting.read", machines=True)


# ---------------------------------------------------------------- rows


@given(caller, guarded_action)
def test_rows_are_reached_exactly_by_those_who_may(principal, action):
    for acting in everywhere(principal, action):
        if not may(acting, action):
            assert rows(acting, action) is Rows.NONE
        elif action.role:
            assert rows(acting, action) is not Rows.NONE


@given(caller, guarded_action, row)
def test_a_row_is_reached_if_it_is_among_the_rows(principal, action, row):
    for acting in everywhere(principal, action):
        covered = rows(acting, action)
        is_here = acting.tenant_id is not None and row.tenant_id == acting.tenant_id
        is_own = is_here and row.owner is not None and row.user_id is not None and row.user_id == acting.user_id
        expected = {Rows.ALL: True, Rows.TENANT: is_here, Rows.OWN: is_own, Rows.NONE: False}[covered]
        assert may(acting, action, row) is expected


# ---------------------------------------------------------------- nobody gives or gains what they lack


def abilities(principal):
    """{(tenant, action): rows} of all that a caller may do, at home and, with a reason, elsewhere."""
    found = {}
    for action in ACTIONS:
        for acting in everywhere(principal, action):
            if may(acting, action):
                key = acting.tenant_id, action.name
                found[key] = max(found.get(key, 0), rows(acting, action).value)
    return found


def assert_not_beyond(gained, had):
    """Whatever was gained, the other one had already: for the same tenant, or for all of them."""
    for (tenant_id, name), covered in gained.items():
        held = max(had.get((tenant_id, name), -1), had.get((None, name), -1))
        assert held >= covered, (tenant_id, name)


@given(member, st.sampled_from([HOME, OTHER, None]), some_scopes)
def test_a_machine_may_nothing_that_its_issuer_may_not(issuer, tenant_id, scopes):
    for acting in everywhere(issuer, SERVICE_TOKEN_ISSUE):
        if may(acting, SERVICE_TOKEN_ISSUE, Rights(tenant_id, scopes)):
            issued = Principal(None, tenant_id, scopes=scopes, account="machine", email_verified=True)
            assert_not_beyond(abilities(issued), abilities(issuer))


@given(member, member)
def test_whoever_may_set_a_password_gains_nothing_by_it(admin, target):
    target_rights = Rights(HOME, target.scopes, target.role)
    if may(admin, authorization.PASSWORD_RESET, target_rights):
        assert_not_beyond(abilities(target), abilities(admin))
        assert RANK[target.role] < RANK[admin.role]


@given(member, st.frozensets(st.sampled_from(sorted(GRANTS)), min_size=1))
def test_an_operator_gives_no_grant_that_they_lack(giver, grants):
    for acting in everywhere(giver, authorization.OPERATOR_GRANT):
        if may(acting, authorization.OPERATOR_GRANT, Rights(None, grants)):
            assert acting.override
            assert all(giver.has_scope(scope) for scope in grants)


ROLES = ["something else", *RANK]  # an unknown role counts as the lowest one


@pytest.mark.parametrize("given_role", ROLES)
@pytest.mark.parametrize("own_role", ROLES)
def test_a_role_is_given_up_to_ones_own_and_a_password_set_below_it(own_role, given_role):
    giver = replace(as_member("owner"), role=own_role)
    given_rights = Rights(HOME, frozenset(), given_role)
    rank, given_rank = RANK.get(own_role, 0), RANK.get(given_role, 0)
    anybody = Action("role.give", rows=Rows.TENANT)
    assert may(giver, anybody, given_rights) is (given_rank <= rank)
    assert may(giver, replace(anybody, below=True), given_rights) is (given_rank < rank)
    for acting in list(everywhere(as_member("owner", [authorization.ANY_SCOPE]), SERVICE_TOKEN_ISSUE))[2:]:
        assert not may(acting, SERVICE_TOKEN_ISSUE, given_rights), "nobody gives a role elsewhere"


def test_operators_reach_the_rows_of_the_platform():
    operator = as_member("viewer", ["auth:invites", authorization.PLATFORM_OPERATOR])
    assert rows(operator, authorization.INVITE_READ) is Rows.ALL
    assert rows(elsewhere(operator, SERVICE_TOKEN_ISSUE, None, "a call"), SERVICE_TOKEN_ISSUE) is Rows.ALL
    assert rows(elsewhere(operator, SERVICE_TOKEN_ISSUE, OTHER, "a call"), SERVICE_TOKEN_ISSUE) is Rows.TENANT
    assert rows(operator, authorization.CONVERSATION_READ) is Rows.OWN
    assert rows(replace(operator, tenant_id=None), authorization.CONVERSATION_READ) is Rows.NONE


def test_a_caller_who_is_nobody_does_not_own_what_machines_made():
    nobody = replace(as_member("member"), user_id=None)
    assert rows(nobody, authorization.CONVERSATION_READ) is Rows.NONE
    assert not may(nobody, authorization.CONVERSATION_READ, Row(HOME, None))


def test_a_long_reason_is_cut():
    operator = as_member("viewer", [authorization.ANY_SCOPE])
    assert elsewhere(operator, authorization.RUN_READ, OTHER, "x" * 600).override == "x" * 512


@pytest.mark.parametrize("scope", sorted(GRANTS))
def test_only_a_root_of_trust_gives_what_nobody_holds(scope):
    gift = Rights(None, frozenset([scope]))
    assert may(Root("operator:jo"), authorization.OPERATOR_GRANT, gift)
    with pytest.raises(OutOfReach):
        require(as_member("owner", [authorization.PLATFORM_OPERATOR]), authorization.OPERATOR_GRANT, gift)


def test_a_plain_name_is_no_root_of_trust():
    with pytest.raises(AttributeError):
        may("operator:jo", authorization.OPERATOR_GRANT)


@given(caller)
def test_anybody_may_do_what_is_public(principal):
    assert may(principal, PUBLIC)


@given(member)
def test_an_unverified_address_has_no_rights_but_over_the_own_account(principal):
    unverified = abilities(replace(principal, email_verified=False))
    assert {name for _, name in unverified} == {"account.own"}
