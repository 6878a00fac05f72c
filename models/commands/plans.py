"""The plans, and which of them a tenant is on."""

import argparse

from models.auth.tenants import Plan, Tenant
from models.billing import plans
from models.billing.plans import PlanFeature
from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform import audit
from models.platform.database import database, transaction
from models.platform.settings import settings

HELP = "Show the plans, whose source is the plan file, and put a tenant on a plan where billing is off."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|put")
    actions.add_parser("list", help="show the plans with their limits")
    put = actions.add_parser(
        "put", help="put a tenant on a plan; with ENABLE_BILLING its subscription says on which it is"
    )
    put.add_argument("tenant", help="the tenant's slug or id")
    put.add_argument("plan", help="the plan's code")
    put.add_argument("--reason", required=True, help="for the audit log")


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            print("\n".join(_lines()))
        else:
            _put(args)
    return 0


def _lines() -> list[str]:
    features = plans.of_plans()
    lines = []
    for plan in Plan.select().order_by(Plan.price_cents, Plan.code):
        lines.append(_line(plan))
        lines += [f"  {_limits(feature)}" for feature in features if feature.plan_code == plan.code]
    return lines


def _line(plan: Plan) -> str:
    every = plan.interval if plan.interval_count == 1 else f"every {plan.interval_count}, {plan.interval}"
    parts = [
        plan.code,
        plan.name,
        f"{plan.price_cents} {plan.currency} cents {every}",
        f"seats: {plan.seats_included or 'any number'}",
        f"trial days: {plan.trial_days}",
        f"jobs at once: {plan.jobs_at_once or settings.tenant_jobs_at_once}",
        *(name for name, is_on in plan.toggles.items() if is_on),
        *(() if plan.is_active else ("not sold",)),
    ]
    return "  ".join(parts)


def _limits(feature: PlanFeature) -> str:
    if not feature.is_metered:
        return f"{feature.key}: at most {_or_none(feature.hard)}"
    price = f", {feature.unit_cents.normalize():f} cents beyond {feature.included}" if feature.unit_cents else ""
    return f"{feature.key}: soft {_or_none(feature.soft)}, hard {_or_none(feature.hard)} a period{price}"


def _or_none(amount: int | None) -> str:
    return "none" if amount is None else str(amount)


def _put(args: argparse.Namespace) -> None:
    if settings.enable_billing:
        raise CommandFailed("With ENABLE_BILLING the subscription of a tenant says on which plan it is.")
    with transaction():
        tenant, plan = find_tenant(args.tenant), Plan.to_sell(args.plan)
        Tenant.update(plan=plan.code).where(Tenant.id == tenant.id).execute()
        audit.record(
            "tenant.plan_set",
            actor(),
            f"tenant:{tenant.id}",
            tenant_id=tenant.id,
            reason=args.reason,
            before=tenant.plan_code,
            plan=plan.code,
        )
    print(f"{tenant.slug} is on the plan {plan.code}.")
