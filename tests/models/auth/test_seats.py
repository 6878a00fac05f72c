"""Seats cap the members of a tenant."""

import threading

import pytest

from models.auth import signup
from models.auth.seats import SeatLimitReached, lock_seats, members_of, take_seat
from models.auth.signup import Registration
from models.auth.tenants import Plan, PlanNotSold, Tenant
from models.auth.users import AlreadyMember, EmailTaken, Membership, User
from models.commands import main
from models.platform.database import NoTransaction, transaction
from models.platform.principal import Root
from tests.support.accounts import add_user
from tests.support.crowd import crowd

BY = Root("test")


@pytest.fixture
def elsewhere(clean):
    """elsewhere(number) -> a user of another tenant."""
    other = Tenant.create(slug="other", name="Other")
    return lambda number: add_user(f"u{number}@example.com", tenant=other)


def give_seats(tenant, seats):
    Tenant.update(seats=seats).where(Tenant.id == tenant.id).execute()


def join(tenant, user):
    with transaction():
        Membership.add(user.id, tenant.id, "member", by=BY)


def outcome(act):
    try:
        act()
    except SeatLimitReached:
        return "full"
    return "in"


def test_without_a_number_of_seats_there_is_no_limit(tenant, elsewhere):
    for number in range(3):
        join(tenant, elsewhere(number))
    assert members_of(tenant.id) == 3


def test_a_member_beyond_the_seats_is_refused_however_they_come(tenant, elsewhere, capsys):
    give_seats(tenant, 2)
    users = [elsewhere(number) for number in range(3)]
    join(tenant, users[0])
    add_user("new@example.com", tenant=tenant)
    for act in (lambda: join(tenant, users[1]), lambda: add_user("newer@example.com", tenant=tenant)):
        with pytest.raises(SeatLimitReached, match=r"All 2 seats of the subscription are taken\.") as refused:
            act()
        assert (refused.value.status, refused.value.details) == (409, {"seats": 2})
    assert User.by_email("newer@example.com") is None
    assert main(["members", "add", "acme", users[1].email, "member", "--reason", "x"]) == 2
    assert "All 2 seats" in capsys.readouterr().err
    assert members_of(tenant.id) == 2


def test_who_is_a_member_is_told_so_also_when_all_seats_are_taken(tenant, elsewhere):
    give_seats(tenant, 1)
    user = elsewhere(0)
    join(tenant, user)
    with pytest.raises(AlreadyMember):
        join(tenant, user)
    give_seats(tenant, 2)
    with pytest.raises(EmailTaken):
        add_user(user.email, tenant=tenant)


def test_a_seat_that_gets_free_is_taken_by_the_next(tenant, elsewhere):
    give_seats(tenant, 1)
    first, second = elsewhere(0), elsewhere(1)
    join(tenant, first)
    assert outcome(lambda: join(tenant, second)) == "full"
    with transaction():
        Membership.in_tenant(first.id, tenant.id).remove(by=BY)
    assert outcome(lambda: join(tenant, second)) == "in"


def test_members_that_are_too_many_stay_but_nobody_joins(tenant, elsewhere):
    for number in range(3):
        join(tenant, elsewhere(number))
    give_seats(tenant, 1)
    assert outcome(lambda: join(tenant, elsewhere(3))) == "full"
    assert members_of(tenant.id) == 3


def test_of_a_hundred_at_once_one_gets_the_last_seat(tenant, elsewhere):
    give_seats(tenant, 3)
    users = [elsewhere(number) for number in range(102)]
    for user in users[:2]:
        join(tenant, user)
    joined = crowd(100, lambda number: outcome(lambda: join(tenant, users[2 + number])))
    assert joined.count("in") == 1 and members_of(tenant.id) == 3


def test_new_accounts_and_known_users_race_for_the_same_seat(tenant, elsewhere):
    give_seats(tenant, 1)
    users = [elsewhere(number) for number in range(7)]

    def act(number):
        if number % 2:
            return outcome(lambda: join(tenant, users[number // 2]))
        return outcome(lambda: add_user(f"new{number}@example.com", tenant=tenant))

    assert crowd(14, act).count("in") == 1 and members_of(tenant.id) == 1


def test_seats_that_are_taken_away_meanwhile_count(tenant, elsewhere):
    """Whoever lowers the number holds the row, so nobody slips in between their look and their write."""
    give_seats(tenant, 5)
    user, joining = elsewhere(0), []
    with transaction():
        assert lock_seats(tenant.id) == 5 and members_of(tenant.id) == 0
        thread = threading.Thread(
            target=lambda: joining.append(crowd(1, lambda _: outcome(lambda: join(tenant, user))))
        )
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        Tenant.update(seats=1).where(Tenant.id == tenant.id).execute()
        Membership.create(user=elsewhere(1).id, tenant=tenant.id, role="owner")
    thread.join(10)
    assert joining == [["full"]] and members_of(tenant.id) == 1


def test_a_seat_is_taken_in_a_transaction(tenant):
    with pytest.raises(NoTransaction):
        take_seat(tenant.id)


# ---------------------------------------------------------------- signing up


def register(**more):
    with transaction():
        return signup.register(Registration("jo@example.com", "hash", "Acme", **more), None)[1]


@pytest.mark.parametrize(("plan", "seats"), [("starter", 1), ("pro", 5)])
def test_a_new_tenant_has_the_seats_of_its_plan_if_there_is_billing(packaged_plans, configure, plan, seats):
    configure(enable_billing=True)
    tenant = register(plan_code=plan)
    assert (Tenant.get_by_id(tenant.id).seats, members_of(tenant.id)) == (seats, 1)


def test_without_billing_a_new_tenant_has_any_number_of_seats(packaged_plans):
    assert register().seats is None


def test_a_plan_that_is_not_sold_cannot_be_signed_up_for(packaged_plans):
    Plan.update(is_active=False).where(Plan.code == "pro").execute()
    with pytest.raises(PlanNotSold, match="'pro' is not sold"):
        register(plan_code="pro")
    assert not Tenant.select().exists()
