"""Plans in the database: brought in line with the file, read, sold."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from models.auth.tenants import Plan, PlanNotFound, PlanNotSold, Tenant
from models.billing import plans, stripe_prices
from models.billing.plan_file import read
from models.billing.plan_tables import bring_in_line
from models.billing.plans import PlanNotPriced, SeatsNotSold
from models.billing.stripe_prices import Meter, Price, known_prices
from models.commands import main
from models.platform.audit import AuditEvent
from models.platform.database import NoTransaction, database, release, transaction
from models.platform.principal import Root

BY = Root("operator:test")
FILE = """
[features.messages]
display_name = "Messages"
unit = "messages"
[features.calls]
display_name = "Calls"
description = "Of your own."
unit = "calls"
[plans.starter]
name = "Starter"
price_cents = 0
[plans.starter.limits]
messages = { soft = 1, hard = 2 }
[plans.gold]
name = "Gold"
price_cents = 500
interval = "yearly"
seats_included = 3
jobs_at_once = 7
[plans.gold.limits]
messages = { hard = 9 }
calls = { included = 5, unit_cents = "0.5" }
"""


@pytest.fixture
def change(packaged_plans, tmp_path):
    """change(text) -> the changes that the file with this text makes."""

    def make(text, by=BY):
        path = tmp_path / "plans.toml"
        path.write_text(text)
        with transaction():
            return bring_in_line(read(path), by=by)

    return make


def on_sale():
    plans._on_sale.cache_clear()
    return {plan.code: (plan, {each.key: each for each in features}) for plan, features in plans.on_sale()}


def test_the_database_is_brought_in_line_with_the_file(change):
    changes = change(FILE)
    assert {"gold: new", "gold calls: new", "gold messages: new", "pro: is_active True -> False"} <= set(changes)
    assert {"starter: trial_days 14 -> 0", "starter messages: soft_limit 150 -> 1"} <= set(changes)
    assert "starter input_tokens: removed" in changes
    assert not [change for change in changes if change.startswith("pro ")]  # who is on it keeps its limits
    listed = on_sale()
    assert list(listed) == ["starter", "gold"]
    gold, features = listed["gold"]
    assert (gold.interval, gold.seats_included, gold.extra_seat_cents, gold.jobs_at_once) == ("yearly", 3, None, 7)
    assert gold.toggles == {"enable_web_search": False}
    assert (features["calls"].included, features["calls"].unit_cents) == (5, Decimal("0.5"))
    assert (features["messages"].included, features["messages"].unit_cents) == (None, None)
    assert features["calls"].description == "Of your own."
    assert change(FILE) == []


def test_a_change_is_on_record_and_a_look_changes_nothing(change):
    before = AuditEvent.select().where(AuditEvent.action == "plans.changed").count()
    looked = change(FILE, by=None)
    assert looked and "gold" not in on_sale()
    assert change(FILE) == looked
    [event] = AuditEvent.newest(actor=str(BY), subject=None, action="plans.changed", tenant_id=None, limit=9)
    assert event.details["changes"] == looked
    assert AuditEvent.select().where(AuditEvent.action == "plans.changed").count() == before + 1
    change(FILE)
    assert AuditEvent.select().where(AuditEvent.action == "plans.changed").count() == before + 1


def test_a_plan_that_is_gone_from_the_file_keeps_its_tenants(change, tenant):
    Tenant.update(plan="pro").execute()
    change(FILE)
    assert Tenant.get_by_id(tenant.id).plan_code == "pro"
    assert {each.key for each in plans.of_plans() if each.plan_code == "pro"} >= {"messages", "input_tokens"}
    with pytest.raises(PlanNotSold):
        Plan.to_sell("pro")
    with pytest.raises(PlanNotFound):
        Plan.to_sell("platinum")
    assert Plan.to_sell("gold").price_cents == 500


def test_many_at_once_write_one_result(change, tmp_path):
    texts = [FILE.replace("hard = 9", f"hard = {number}") for number in range(10, 18)]

    def bring(number):
        try:
            path = tmp_path / f"{number}.toml"
            path.write_text(texts[number])
            with transaction():
                return bring_in_line(read(path), by=BY)
        finally:
            release()

    with ThreadPoolExecutor(8) as pool:
        assert all(list(pool.map(bring, range(8))))
    _, features = on_sale()["gold"]
    assert features["messages"].hard in range(10, 18) and len(features) == 2


def test_it_is_part_of_a_transaction(packaged_plans):
    with pytest.raises(NoTransaction):
        bring_in_line(packaged_plans, by=BY)


# ---------------------------------------------------------------- the command line


def test_migrate_up_brings_the_plans_in_line(packaged_plans, tmp_path, configure, capsys):
    path = tmp_path / "plans.toml"
    path.write_text(FILE)
    configure(plans_path=str(path))
    assert main(["migrate", "up"]) == 0
    assert "The schema is up to date.\nplan gold: new\n" in capsys.readouterr().out
    assert main(["migrate", "up"]) == 0
    assert "The plans are up to date." in capsys.readouterr().out
    path.write_text("[plans]")
    with pytest.raises(SystemExit, match="Dictionary should have at least 1 item"):
        main(["migrate", "up"])


def test_the_command_shows_the_plans(change, configure, capsys):
    change(FILE)
    assert main(["plans", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("starter  Starter  0 USD cents monthly  seats: 1  trial days: 0  jobs at once: 64")
    assert "  calls: soft none, hard none a period, 0.5 cents beyond 5" in lines
    assert "gold  Gold  500 USD cents yearly  seats: 3  trial days: 0  jobs at once: 7" in lines
    assert "  vector.max_file_bytes: at most 536870912" in lines
    assert next(line for line in lines if line.startswith("pro ")).endswith("enable_web_search  not sold")


def test_the_command_puts_a_tenant_on_a_plan_where_billing_is_off(packaged_plans, tenant, configure, capsys):
    put = ["plans", "put", "acme", "pro", "--reason", "a friend"]
    assert main(put) == 0 and Tenant.get_by_id(tenant.id).plan_code == "pro"
    [event] = AuditEvent.newest(
        actor=None, subject=f"tenant:{tenant.id}", action="tenant.plan_set", tenant_id=tenant.id, limit=9
    )
    assert (event.details, event.reason) == ({"before": None, "plan": "pro"}, "a friend")
    assert main(["plans", "put", "nobody", "pro", "--reason", "x"]) == 2
    assert main(["plans", "put", "acme", "platinum", "--reason", "x"]) == 2
    Plan.update(is_active=False).where(Plan.code == "starter").execute()
    assert main(["plans", "put", "acme", "starter", "--reason", "x"]) == 2
    configure(enable_billing=True)
    assert main(put) == 2
    assert "the subscription of a tenant says" in capsys.readouterr().err
    assert Tenant.get_by_id(tenant.id).plan_code == "pro"


# ---------------------------------------------------------------- what a tenant may


def test_limits_that_hold_at_any_time(packaged_plans, tenant, configure):
    Tenant.update(plan="pro").execute()
    assert plans.limit(tenant.id, "vector.stores_per_tenant") is None  # billing is off: the settings hold
    configure(enable_billing=True)
    assert plans.limit(tenant.id, "vector.stores_per_tenant") == 10
    assert plans.limit(tenant.id, "vector.total_bytes_per_tenant") is None
    Tenant.update(plan=None).execute()
    assert plans.limit(tenant.id, "vector.stores_per_tenant") is None


def test_toggles(packaged_plans, tenant, configure):
    def allowed(plan):
        Tenant.update(plan=plan).execute()
        return plans.toggle(tenant.id, "enable_web_search")

    assert [allowed(plan) for plan in ("starter", "pro", None)] == [True, True, True]
    configure(enable_billing=True)
    assert [allowed(plan) for plan in ("starter", "pro", None)] == [False, True, True]
    Plan.update(toggles={}).execute()
    assert allowed("starter") is True
    assert plans.toggle(None, "enable_web_search") is True


# ---------------------------------------------------------------- Stripe


def test_without_a_sync_nothing_can_be_bought(packaged_plans):
    with pytest.raises(PlanNotPriced, match="No Stripe price configured for plan 'pro'"):
        plans.stripe_items(Plan.to_sell("pro"), 5)


def test_seats(packaged_plans):
    pro = Plan.to_sell("pro")
    assert [plans.seats(pro, asked) for asked in (None, 1, 5, 60)] == [5, 1, 5, 60]
    pro.extra_seat_cents = None
    assert [plans.seats(pro, asked) for asked in (None, 5)] == [5, 5]
    with pytest.raises(SeatsNotSold, match="has 5 seats, and no further ones"):
        plans.seats(pro, 6)


def meters():
    return database.execute_sql("select feature, event_name, stripe_meter_id from stripe_meter order by 1").fetchall()


def price(plan_code, feature, price_id):
    return Price(plan_code, feature, f"prod_{feature}", price_id)


def test_former_prices_stay_known_but_are_not_sold(packaged_plans):
    meter = Meter("messages", "longshore_messages", "mtr_1")
    with transaction():
        stripe_prices.replace(
            [price("pro", "", "p1"), price("pro", "messages", "p2"), price("starter", "", "p3")], [meter]
        )
    pro = Plan.to_sell("pro")
    assert plans.stripe_items(pro, 7) == [{"price": "p1", "quantity": 7}, {"price": "p2"}]
    assert meters() == [("messages", "longshore_messages", "mtr_1")]
    with transaction():
        stripe_prices.replace([price("pro", "", "p4"), price("starter", "", "p3")], [meter._replace(meter_id="mtr_2")])
    assert plans.stripe_items(pro, 5) == [{"price": "p4", "quantity": 5}]
    assert meters() == [("messages", "longshore_messages", "mtr_2")]
    former = {"p1": ("pro", ""), "p2": ("pro", "messages"), "p3": ("starter", "")}
    assert known_prices() == {**former, "p4": ("pro", "")}
    with transaction():
        stripe_prices.replace([price("pro", "", "p1")], [])
    assert plans.stripe_items(pro, 5) == [{"price": "p1", "quantity": 5}] and meters() == []
    with pytest.raises(PlanNotPriced):
        plans.stripe_items(Plan.to_sell("starter"), 1)


@pytest.mark.parametrize(
    ("before", "after", "is_sold"),
    [
        ("price_cents = 500", "price_cents = 501", False),
        ("seats_included = 3", "seats_included = 4", False),
        ("seats_included = 3", "seats_included = 3\nextra_seat_cents = 1", False),
        ('interval = "yearly"', 'interval = "monthly"', False),
        ('unit_cents = "0.5"', 'unit_cents = "0.6"', False),
        ("calls = { included = 5", "calls = { included = 6", False),
        ('calls = { included = 5, unit_cents = "0.5" }', "", False),
        ("messages = { hard = 9 }", "messages = { hard = 10 }", True),
        ("jobs_at_once = 7", "jobs_at_once = 8", True),
        ('name = "Gold"', 'name = "Golden"', True),
    ],
)
def test_a_plan_that_costs_something_else_cannot_be_bought_until_stripe_knows(change, before, after, is_sold):
    change(FILE)
    with transaction():
        stripe_prices.replace([price("gold", "", "p1"), price("gold", "calls", "p2"), price("starter", "", "p3")], [])
    assert change(FILE.replace(before, after))
    assert bool(stripe_prices.current("gold")) is is_sold and stripe_prices.current("starter")
    assert set(known_prices()) == {"p1", "p2", "p3"}


def test_two_prices_of_one_thing_cannot_both_be_current(packaged_plans):
    with pytest.raises(Exception, match="stripe_price_current"), transaction():
        stripe_prices.replace([price("pro", "", "p1"), price("pro", "", "p2")], [])
    assert database.execute_sql("select count(*) from stripe_price").fetchone() == (0,)
