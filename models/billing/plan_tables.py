"""Brings the database's plans in line with the plan file. Plans are never deleted: tenants may be on them."""

from collections.abc import Iterator
from typing import Any

from models.auth.tenants import Plan
from models.billing import stripe_prices
from models.billing.plan_file import PlanEntry, PlanFile
from models.platform import audit
from models.platform.database import database, in_transaction
from models.platform.locks import lock
from models.platform.principal import Root

PLANS = (
    "name", "price_cents", "currency", "interval", "interval_count", "seats_included", "extra_seat_cents", "trial_days",
    "toggles", "is_active", "jobs_at_once",
)  # fmt: skip
LIMITS = (
    "display_name", "description", "unit", "soft_limit", "hard_limit", "is_metered", "included", "unit_cents",
)  # fmt: skip
# What Stripe's prices are made of, in both.
PRICED = (
    "price_cents", "currency", "interval", "interval_count", "seats_included", "extra_seat_cents", "is_active",
    "is_metered", "included", "unit_cents",
)  # fmt: skip
WRITE_LIMIT = f"""
insert into plan_limit (plan_code, feature, {", ".join(LIMITS)})
values (%(plan_code)s, %(feature)s, {", ".join(f"%({name})s" for name in LIMITS)})
on conflict (plan_code, feature) do update set {", ".join(f"{name} = excluded.{name}" for name in LIMITS)}"""  # noqa: S608  (made of constants)
READ_LIMITS = f"select plan_code, feature, {', '.join(LIMITS)} from plan_limit"  # noqa: S608
REMOVE_LIMIT = "delete from plan_limit where plan_code = %(plan_code)s and feature = %(feature)s"
Rows = dict[str, dict[str, Any]]  # column -> value, by the plan's code
LimitRows = dict[tuple[str, str], dict[str, Any]]  # by the plan's code and the feature


@in_transaction
def bring_in_line(file: PlanFile, *, by: Root | None) -> list[str]:
    """Write what differs from the file, and return a line for each change. `by`: for the audit log; None: only look.

    A plan that costs something else now cannot be bought until Stripe has the new price: nobody pays another one than they
    are shown.
    """
    lock("plans")
    plans, limits = _plans(file), _limits(file)
    stored, stored_limits = _stored(), _stored_limits()
    for code in stored.keys() - plans.keys():
        plans[code] = {**stored[code], "is_active": False}
        limits |= {key: limit for key, limit in stored_limits.items() if key[0] == code}
    changes = [*_differences(stored, plans), *_differences(stored_limits, limits)]
    if changes and by is not None:
        _write(plans, limits, stored_limits)
        stripe_prices.retire({*_repriced(stored, plans), *(code for code, _ in _repriced(stored_limits, limits))})
        audit.record("plans.changed", by, changes=changes)
    return changes


def _plans(file: PlanFile) -> Rows:
    return {code: _row(plan) for code, plan in file.plans.items()}


def _row(plan: PlanEntry) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in PLANS if name != "toggles"} | {"toggles": plan.all_toggles}


def _limits(file: PlanFile) -> LimitRows:
    rows: LimitRows = {}
    for code, plan in file.plans.items():
        for key, limit in plan.limits.items():
            feature, charged = file.features[key], limit.unit_cents is not None
            rows[code, key] = {
                "display_name": feature.display_name,
                "description": feature.description,
                "unit": feature.unit,
                "soft_limit": limit.soft,
                "hard_limit": limit.hard,
                "is_metered": feature.is_metered,
                "included": limit.included if charged else None,
                "unit_cents": limit.unit_cents,
            }
    return rows


def _stored() -> Rows:
    return {plan.code: {name: getattr(plan, name) for name in PLANS} for plan in Plan.select().order_by(Plan.code)}


def _stored_limits() -> LimitRows:
    rows = database.execute_sql(READ_LIMITS).fetchall()
    return {(code, feature): dict(zip(LIMITS, values, strict=True)) for code, feature, *values in rows}


def _differences(stored: dict[Any, dict[str, Any]], wanted: dict[Any, dict[str, Any]]) -> Iterator[str]:
    for key in sorted(stored.keys() | wanted.keys()):
        name = key if isinstance(key, str) else " ".join(key)
        before, after = stored.get(key), wanted.get(key)
        if after is None:
            yield f"{name}: removed"
        elif before is None:
            yield f"{name}: new"
        else:
            yield from (
                f"{name}: {each} {before[each]} -> {after[each]}" for each in after if after[each] != before[each]
            )


def _repriced(stored: dict[Any, dict[str, Any]], wanted: dict[Any, dict[str, Any]]) -> set[Any]:
    """The keys of rows whose price differs."""

    def price(row: dict[str, Any] | None) -> list[Any]:
        if row is None or row.get("is_metered") is False:  # which is at no Stripe
            return []
        return [row[name] for name in PRICED if name in row]

    return {key for key in stored.keys() | wanted.keys() if price(stored.get(key)) != price(wanted.get(key))}


def _write(plans: Rows, limits: LimitRows, stored_limits: LimitRows) -> None:
    for code, columns in plans.items():
        if not Plan.update(**columns).where(Plan.code == code).execute():
            Plan.insert(code=code, **columns).execute()
    for code, feature in stored_limits.keys() - limits.keys():
        database.execute_sql(REMOVE_LIMIT, {"plan_code": code, "feature": feature})
    for (code, feature), columns in limits.items():
        database.execute_sql(WRITE_LIMIT, {"plan_code": code, "feature": feature, **columns})
