"""The plan file: what is accepted, and what is said about what is not."""

from decimal import Decimal

import pytest

from models.billing.plan_file import KNOWN, PACKAGED, plan_file, read

FEATURE = '[features.{key}]\ndisplay_name = "D"\nunit = "u"\n{more}\n'
PLAN = '[plans.{code}]\nname = "P"\nprice_cents = {price}\n{more}\n'


@pytest.fixture
def faults(tmp_path):
    """faults(text): what is said of a file with this text, without its path."""

    def found(text):
        path = tmp_path / "plans.toml"
        path.write_text(text)
        with pytest.raises(SystemExit) as refusal:
            read(path)
        return str(refusal.value).replace(f"{path}: ", "")

    return found


def plan(more="", code="gold", price=100):
    return PLAN.format(code=code, price=price, more=more)


def feature(key="messages", more=""):
    return FEATURE.format(key=key, more=more)


def test_the_packaged_file_is_what_is_promised():
    plans = read(PACKAGED).plans
    assert list(plans) == ["starter", "pro"]
    starter, pro = plans.values()
    assert (starter.price_cents, starter.seats_included, starter.trial_days) == (0, 1, 14)
    assert (pro.price_cents, pro.seats_included, pro.trial_days, pro.currency) == (9900, 5, 14, "USD")
    assert (starter.all_toggles, pro.all_toggles) == ({"enable_web_search": False}, {"enable_web_search": True})
    limits = {
        code: {key: (limit.soft, limit.hard) for key, limit in plan.limits.items()} for code, plan in plans.items()
    }
    assert limits["starter"]["messages"] == (150, 200) and limits["pro"]["messages"] == (1000, 1500)
    assert limits["starter"]["input_tokens"] == (200_000, 250_000)
    assert limits["starter"]["output_tokens"] == (75_000, 100_000)
    assert limits["pro"]["input_tokens"] == (1_000_000, 1_500_000)
    assert limits["pro"]["output_tokens"] == (400_000, 600_000)
    assert limits["pro"]["vector.max_file_bytes"] == (None, 512 * 2**20)
    assert set(read(PACKAGED).features) == set(KNOWN)


def test_prices_of_usage_are_exact_decimals(tmp_path):
    path = tmp_path / "plans.toml"
    path.write_text(feature() + plan('limits.messages = { included = 100, unit_cents = "0.000000000001" }'))
    limit = read(path).plans["gold"].limits["messages"]
    assert limit.unit_cents == Decimal("0.000000000001") and limit.included == 100


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plans = 3", "plans: Input should be a valid dictionary."),
        ("", "plans: Field required."),
        ("[plans]", "plans: Dictionary should have at least 1 item"),
        ("[plans\n", "(at line 1, column 7)."),
        (plan("colour = 'red'"), "plans.gold.colour: Extra inputs are not permitted."),
        (plan(price=-1), "plans.gold.price_cents: Input should be greater than or equal to 0."),
        (plan(price=9.99), "plans.gold.price_cents: Input should be a valid integer."),
        (plan(price='"100"'), "plans.gold.price_cents: Input should be a valid integer."),
        (plan('currency = "usd"'), "plans.gold.currency: String should match"),
        (plan('interval = "month"'), "plans.gold.interval: Input should be 'daily', 'weekly', 'monthly' or 'yearly'."),
        (plan("seats_included = 0"), "plans.gold.seats_included: Input should be greater than or equal to 1."),
        (plan("trial_days = 731"), "plans.gold.trial_days: Input should be less than or equal to 730."),
        (plan("jobs_at_once = 0"), "plans.gold.jobs_at_once: Input should be greater than or equal to 1."),
        (plan("toggles = { enable_magic = true }"), "plans.gold.toggles.enable_magic"),
        (plan(code='"Gold plan"'), "plans.Gold plan.[key]: String should match"),
        (plan("limits.mesages = { hard = 1 }"), "plans.gold.limits.mesages: there is no [features.mesages]."),
        (feature() + plan("limits.messages = { soft = 2, hard = 1 }"),
         "plans.gold.limits.messages: the soft limit, 2, is above the hard one, 1."),
        (feature() + plan("limits.messages = { unit_cents = 0.25 }"), 'write a fraction of a cent as a text, such as "0.25"'),
        (feature() + plan('limits.messages = { unit_cents = "-1" }'), "plans.gold.limits.messages.unit_cents"),
        (feature() + plan("limits.messages = { included = 5 }"), "so it needs unit_cents."),
        (feature() + plan('limits.messages = { included = 5, hard = 5, unit_cents = "1" }'), "nobody ever pays unit_cents."),
        (feature(more="is_metered = false"), "plans: Field required."),
        (feature(more="is_metered = false") + plan(), "features.messages: is_metered has to be true."),
        (feature('"vector.max_file_bytes"') + plan(), "features.vector.max_file_bytes: is_metered has to be false."),
        (feature("storage", "is_metered = false") + plan(), "features.storage: nothing would enforce this limit."),
        (feature('"own.calls"') + plan(), "features.own.calls: the key of what is metered has no dots."),
        (feature('"vector.max_file_bytes"', "is_metered = false")
         + plan('limits."vector.max_file_bytes" = { soft = 1, hard = 2 }'), "what is not metered has a hard limit only."),
        (plan() + plan('currency = "EUR"', "silver"), "plans: EUR, USD: nobody can change to a plan in another currency."),
        ("".join(feature(f"f{number}") for number in range(20))
         + plan("\n".join(f"limits.f{number} = {{ hard = 1 }}" for number in range(20))),
         "plans.gold.limits: a plan has at most 19 metered features."),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_place(faults, text, said):
    assert said in faults(text)


def test_all_faults_are_listed(faults):
    text = feature(more="is_metered = false") + plan("limits.other = {}") + plan('currency = "EUR"', "silver")
    assert [line.split(":")[0] for line in faults(text).splitlines()] == [
        "features.messages",
        "plans.gold.limits.other",
        "plans",
    ]


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(SystemExit, match=r"nowhere\.toml: No such file or directory\."):
        read(tmp_path / "nowhere.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SystemExit, match=r"binary\.toml: 'utf-8' codec"):
        read(tmp_path / "binary.toml")


def test_new_tenants_need_their_plan(tmp_path, configure):
    path = tmp_path / "plans.toml"
    path.write_text(plan() + plan("is_active = false", "old"))
    for code in ("starter", "old"):
        configure(plans_path=str(path), signup_default_plan_code=code)
        with pytest.raises(SystemExit, match=f"plans.{code}: SIGNUP_DEFAULT_PLAN_CODE names it"):
            plan_file()
    configure(signup_default_plan_code="gold")
    assert plan_file().plans["gold"].name == "P"
