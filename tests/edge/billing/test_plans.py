"""GET /api/v1/billing/plans."""

import pytest


@pytest.fixture
def listed(http, packaged_plans):
    from models.billing import plans

    def ask():
        plans._on_sale.cache_clear()
        answer = http.simulate_get("/api/v1/billing/plans")
        assert answer.status_code == 200
        return answer.json

    return ask


def test_anybody_sees_the_plans_that_are_on_sale(listed):
    starter, pro = listed()
    assert {name: value for name, value in pro.items() if name != "features"} == {
        "code": "pro",
        "name": "Pro",
        "interval": "monthly",
        "interval_count": 1,
        "price_cents": 9900,
        "currency": "USD",
        "trial_days": 14,
        "seat_included": 5,
        "feature_toggles": {"enable_web_search": True},
        "is_active": True,
        "extra_seat_cents": 1900,
    }
    assert starter["code"] == "starter" and starter["feature_toggles"] == {"enable_web_search": False}
    features = {feature["key"]: feature for feature in starter["features"]}
    assert list(features) == sorted(features)
    assert features["messages"] == {
        "key": "messages",
        "display_name": "Messages",
        "description": "Answered messages of chats and workflows.",
        "hard_limit": 200,
        "soft_limit": 150,
        "is_metered": True,
        "unit": "messages",
        "included": None,
        "unit_cents": None,
    }
    assert features["vector.max_file_bytes"]["is_metered"] is False


def test_the_cheapest_comes_first_and_what_is_not_sold_not_at_all(listed):
    from models.auth.tenants import Plan

    Plan.update(price_cents=9900).where(Plan.code == "starter").execute()
    assert [plan["code"] for plan in listed()] == ["pro", "starter"]
    Plan.update(is_active=False).where(Plan.code == "pro").execute()
    assert [plan["code"] for plan in listed()] == ["starter"]


def test_a_crowd_costs_the_database_nothing(listed, http, monkeypatch):
    from models.platform.database import database

    listed()
    monkeypatch.setattr(database, "execute_sql", lambda *_: pytest.fail("asked the database"))
    assert len({http.simulate_get("/api/v1/billing/plans").text for _ in range(20)}) == 1
