"""Plans at Stripe: `python -m workers.billing plans sync` against the stand-in."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.auth.tenants import Plan
from models.billing import plans
from models.billing.plan_file import plan_file, read
from models.billing.stripe_prices import known_prices
from models.platform.audit import AuditEvent
from models.platform.database import database
from tests.support.stripe import settings_of, standin, sync_plans
from workers.billing import plan_objects, plan_sync
from workers.billing.commands import main
from workers.gateways.stripe import ProviderError, ProviderUnavailable, call, every

FILE = """
[features.messages]
display_name = "Messages"
unit = "messages"
[features.calls]
display_name = "Calls"
unit = "calls"
[plans.gold]
name = "Gold"
price_cents = {price}
interval = "yearly"
seats_included = 3
{more}
[plans.gold.limits]
messages = {{ hard = 100 }}
calls = {{ included = 50, unit_cents = "0.25" }}
"""


@pytest.fixture
def account(tmp_path, configure, packaged_plans):
    """An empty Stripe account."""
    with standin(tmp_path / "stripe") as part:
        configure(**settings_of(part), signup_default_plan_code="gold")
        yield part
        part.kill()  # sooner done than a stop


@pytest.fixture
def file(tmp_path, configure):
    """file(price=..., more=...) -> a plan file, which is that of this process."""

    def write(price=5000, more="extra_seat_cents = 700", text=FILE):
        path = tmp_path / "plans.toml"
        path.write_text(text.format(price=price, more=more))
        configure(plans_path=str(path))
        return read(path)

    return write


def prices(**only):
    found = every("prices.list", lambda stripe, page: stripe.v1.prices.list(page), expand=["data.tiers"], **only)
    return {price["id"]: price for price in found}


def products(**only):
    return {
        each["id"]: each for each in every("products.list", lambda stripe, page: stripe.v1.products.list(page), **only)
    }


def meters():
    found = every("billing.meters.list", lambda stripe, page: stripe.v1.billing.meters.list(page))
    return {meter["event_name"]: meter for meter in found}


def gold():
    return plans.stripe_items(Plan.by_code("gold"), 4)


def test_an_empty_account_gets_everything(account, file):
    lines = sync_plans(file())
    assert "product longshore_plan_gold: new" in lines and "price longshore:gold:calls: new" in lines
    assert {"meter longshore_calls: new", "plan gold: new"} <= set(lines)
    assert set(products(active=True)) == {
        "longshore_plan_gold",
        "longshore_feature_messages",
        "longshore_feature_calls",
    }
    [seats, calls, messages] = [prices()[item["price"]] for item in gold()]
    assert gold()[0]["quantity"] == 4 and "quantity" not in gold()[1]
    assert (seats["product"], seats["currency"], seats["lookup_key"]) == (
        "longshore_plan_gold",
        "usd",
        "longshore:gold",
    )
    assert (seats["recurring"]["interval"], seats["recurring"]["usage_type"]) == ("year", "licensed")
    assert (seats["billing_scheme"], seats["tiers_mode"]) == ("tiered", "graduated")
    assert [(tier["up_to"], tier["flat_amount"], tier["unit_amount"]) for tier in seats["tiers"]] == [
        (3, 5000, None),
        (None, None, 700),
    ]
    assert seats["metadata"] == {"app": "longshore", "plan_code": "gold"}
    assert calls["metadata"] == {"app": "longshore", "plan_code": "gold", "feature_key": "calls"}
    assert calls["recurring"]["meter"] == meters()["longshore_calls"]["id"]
    assert [(tier["up_to"], tier["unit_amount_decimal"]) for tier in calls["tiers"]] == [(50, "0"), (None, "0.25")]
    assert (messages["billing_scheme"], messages["unit_amount"]) == ("per_unit", 0)
    meter = meters()["longshore_calls"]
    stored = database.execute_sql("select feature, event_name, stripe_meter_id from stripe_meter order by 1").fetchall()
    assert [row[:2] for row in stored] == [("calls", "longshore_calls"), ("messages", "longshore_messages")]
    assert stored[0][2] == meter["id"]
    assert {name: meter[name] for name in plan_sync.METER} == plan_sync.METER


def test_a_second_sync_changes_nothing(account, file):
    sync_plans(file())
    before = prices(), products(), meters(), gold()
    assert sync_plans(file()) == [] == sync_plans(file(), prune=True)
    assert (prices(), products(), meters(), gold()) == before
    assert AuditEvent.select().where(AuditEvent.action == "plans.synced").count() == 1


def test_a_look_changes_nothing_and_says_what_a_sync_would(account, file):
    looked = sync_plans(file(), dry=True)
    assert not products() and not prices() and not meters() and not Plan.select().where(Plan.code == "gold").exists()
    assert sync_plans(file()) == looked
    looked = sync_plans(file(price=6000), dry=True)
    assert looked == sync_plans(file(price=6000), dry=True)
    assert len(prices(active=True)) == 3 and Plan.by_code("gold").price_cents == 5000
    assert looked == sync_plans(file(price=6000))


def test_a_changed_price_is_a_new_one_and_the_former_stays_known(account, file):
    sync_plans(file())
    former = gold()[0]["price"]
    lines = sync_plans(file(price=6000))
    assert lines == [
        "price longshore:gold: replaced",
        "plan gold: price_cents 5000 -> 6000",
        f"price {former}: archived",
    ]
    new = gold()[0]["price"]
    assert new != former and prices()[new]["lookup_key"] == "longshore:gold"
    assert (prices()[former]["active"], prices()[former]["lookup_key"]) == (False, None)
    assert {each: known_prices()[each] for each in (former, new)} == {former: ("gold", ""), new: ("gold", "")}
    sync_plans(file(price=5000))
    assert gold()[0]["price"] not in (former, new) and len(prices(active=True)) == 3


def test_whatever_a_price_is_made_of_is_compared(account, file):
    sync_plans(file())
    changes = {"": 1, "extra_seat_cents = 701": 1, 'currency = "EUR"': 3, "interval_count = 2": 3}
    for more, count in changes.items():
        lines = [line for line in sync_plans(file(more=more)) if line.endswith(": replaced")]
        assert len(lines) == count and sync_plans(file(more=more)) == []
        sync_plans(file())


def test_names_follow_the_file_and_find_nothing(account, file):
    sync_plans(file())
    params = {"name": "Renamed", "metadata": {"theirs": "kept"}}
    call("products.update", lambda stripe: stripe.v1.products.update("longshore_plan_gold", params))
    assert sync_plans(file()) == ["product longshore_plan_gold: name Renamed -> Gold"]
    assert products()["longshore_plan_gold"]["metadata"] == {"app": "longshore", "plan_code": "gold", "theirs": "kept"}
    other = {"name": "Gold", "metadata": {"app": "other"}}
    theirs = call("products.create", lambda stripe: stripe.v1.products.create(other))["id"]
    assert sync_plans(file(), prune=True) == [] and products()[theirs]["active"]


def test_what_somebody_has_archived_at_stripe_is_sold_again(account, file):
    sync_plans(file())
    seats = gold()[0]["price"]
    call("prices.update", lambda stripe: stripe.v1.prices.update(seats, {"active": False}))
    call("products.update", lambda stripe: stripe.v1.products.update("longshore_plan_gold", {"active": False}))
    meter = meters()["longshore_calls"]["id"]
    call("billing.meters.deactivate", lambda stripe: stripe.v1.billing.meters.deactivate(meter))
    assert sync_plans(file()) == [
        "product longshore_plan_gold: active False -> True",
        "meter longshore_calls: back in use",
        "price longshore:gold: replaced",
    ]
    assert prices()[gold()[0]["price"]]["active"] and meters()["longshore_calls"]["id"] == meter


def test_what_is_gone_from_the_file_is_archived_on_request(account, file):
    more = '[plans.old]\nname = "Old"\nprice_cents = 1\n[plans.old.limits]\nmessages = {{ hard = 1 }}'
    sync_plans(file(text=FILE + more))
    old = plans.stripe_items(Plan.by_code("old"), 1)[0]["price"]
    without_calls = FILE.replace('calls = {{ included = 50, unit_cents = "0.25" }}', "")
    sync_plans(file(text=without_calls))
    assert products()["longshore_plan_old"]["active"] and prices()[old]["active"]
    with pytest.raises(plans.PlanNotPriced):
        plans.stripe_items(Plan.by_code("old"), 1)
    looked = sync_plans(file(text=without_calls), prune=True, dry=True)
    assert products()["longshore_plan_old"]["active"]
    lines = sync_plans(file(text=without_calls), prune=True)
    assert lines == looked
    assert {
        "product longshore_plan_old: archived",
        f"price {old}: archived",
        "meter longshore_calls: out of use",
    } <= set(lines)
    assert set(products(active=True)) == {"longshore_plan_gold", "longshore_feature_messages"}
    assert known_prices()[old] == ("old", "")
    assert sync_plans(file(text=without_calls), prune=True) == []


def test_a_meter_that_counts_otherwise_is_not_taken(account, file):
    theirs = {
        "event_name": "longshore_calls",
        "display_name": "Theirs",
        "default_aggregation": {"formula": "count"},
        "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
        "value_settings": {"event_payload_key": "value"},
    }
    call("billing.meters.create", lambda stripe: stripe.v1.billing.meters.create(theirs))
    with pytest.raises(ProviderError, match="longshore_calls at Stripe has another default_aggregation"):
        sync_plans(file())


def test_several_at_once_make_everything_once(account, file):
    wanted = file()
    with ThreadPoolExecutor(4) as pool:  # without the command's lock, as several installations would
        list(pool.map(lambda _: sync_plans(wanted), range(4)))
    assert len(prices()) == len(prices(active=True)) == 3 and len(products()) == 3 and len(meters()) == 2
    assert sync_plans(wanted) == []


def test_a_sync_that_dies_is_completed_by_the_next(account, file, monkeypatch):
    sync_plans(file())
    made, real = [], plan_sync.call

    def dying(name, function):
        if name.endswith((".create", ".update")):
            made.append(name)
            if len(made) > step:
                raise ProviderUnavailable("cut off")
        return real(name, function)

    for step in range(20):
        changed = FILE.replace("0.25", f"0.{step + 30}") + f'[plans.new{step}]\nname = "New"\nprice_cents = 1\n'
        file(price=6000 + step, text=changed)
        before = gold()
        made.clear()
        with monkeypatch.context() as patched:
            patched.setattr(plan_sync, "call", dying)
            try:
                sync_plans(plan_file())
            except ProviderUnavailable:
                died = True
                sold = [prices()[item["price"]]["active"] for item in gold()]
                assert all(sold), "what is sold here has to be on sale at Stripe"
            else:
                died = False
        sync_plans(plan_file(), prune=True)
        assert gold() != before and sync_plans(plan_file()) == []
        wanted = {price.lookup_key for price in plan_objects.prices(plan_file(), {"messages": "", "calls": ""})}
        assert {price["lookup_key"] for price in prices(active=True).values()} == wanted and len(wanted) == 4
        if not died:
            break
    assert 5 < step < 19


REAL_KEY = os.environ.get("STRIPE_TEST_KEY", "")


@pytest.mark.skipif(not REAL_KEY.startswith("sk_test_"), reason="STRIPE_TEST_KEY is no test key of an account")
def test_a_real_account_is_brought_in_line(configure, packaged_plans):
    configure(enable_billing=True, stripe_secret_key=REAL_KEY, stripe_api_base=None)
    sync_plans()
    assert sync_plans() == []
    for code, seats in (("starter", 1), ("pro", 7)):
        items = plans.stripe_items(Plan.by_code(code), seats)
        ids = [item["price"] for item in items]
        found = [call("prices.retrieve", lambda stripe, id_=id_: stripe.v1.prices.retrieve(id_)) for id_ in ids]
        assert all(price["active"] and price["metadata"]["plan_code"] == code for price in found)


# ---------------------------------------------------------------- the command


def test_the_command(account, file, capsys):
    file()
    assert main(["plans", "sync", "--dry-run"]) == 0
    assert capsys.readouterr().out.endswith("plan gold messages: new\nNothing was changed.\n")
    assert main(["plans", "sync"]) == 0
    assert "price longshore:gold: new\n" in capsys.readouterr().out
    assert main(["plans", "sync", "--prune"]) == 0
    assert capsys.readouterr().out == "Stripe and the database are in line with the plan file.\n"
    account.stop()
    assert main(["plans", "sync"]) == 2
    assert capsys.readouterr().err == "error: Stripe: Stripe could not be reached.\n"
    account.start()


def test_the_command_needs_billing_and_a_key(file, packaged_plans, configure, capsys):
    configure(signup_default_plan_code="gold", enable_billing=False)
    file()
    assert main(["plans", "sync"]) == 2
    assert "ENABLE_BILLING is off" in capsys.readouterr().err
    configure(enable_billing=True, stripe_secret_key=None)
    assert main(["plans", "sync"]) == 2
    assert "STRIPE_SECRET_KEY is not configured" in capsys.readouterr().err


def test_the_packaged_plans_can_be_bought(priced):
    for code, seats in (("starter", 1), ("pro", 5)):
        first, *metered = plans.stripe_items(Plan.by_code(code), seats)
        assert first["quantity"] == seats and len(metered) == 5
    assert database.execute_sql("select count(*) from stripe_meter").fetchone() == (5,)
