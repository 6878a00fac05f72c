"""The limits of plans."""

import argparse

from models.auth.tenants import Plan
from models.billing import usage_limits
from models.commands import CommandFailed, actor
from models.platform import audit
from models.platform.database import database, transaction
from models.platform.settings import settings

HELP = "Show the plans with their limits, and set a limit, or how many jobs of a tenant run at once."

MOST_A_MONTH, MOST_AT_ONCE = 10**15, 10**6  # both far beyond any installation, and within what Postgres stores


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|limit|share")
    actions.add_parser("list", help="show the plans with their limits")
    share = actions.add_parser("share", help="set how many jobs of a tenant are with the workers of a queue at once")
    share.add_argument("plan", help="the plan's code")
    share.add_argument("jobs", type=_share, help="a number, or `default` for TENANT_JOBS_AT_ONCE")
    limit = actions.add_parser(
        "limit",
        help="set what a plan allows in a month, with ENABLE_USAGE_GUARDRAILS; without --soft and --hard, anything",
    )
    limit.add_argument("plan", help="the plan's code")
    limit.add_argument("feature", choices=sorted(usage_limits.UNITS))
    limit.add_argument("--soft", type=_amount, help="warn from here on, or refuse: USAGE_GUARDRAIL_SOFT_LIMIT_MODE")
    limit.add_argument("--hard", type=_amount, help="refuse runs from here on")


def _amount(text: str) -> int:
    return _number(text, 0, MOST_A_MONTH, "")


def _share(text: str) -> int | None:
    if text == "default":
        return None
    return _number(text, 1, MOST_AT_ONCE, ", or `default`")


def _number(text: str, low: int, high: int, else_what: str) -> int:
    if not (text.isascii() and text.isdigit()) or not low <= int(text[:20]) <= high:
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high:_}{else_what}")
    return int(text)


def run(args: argparse.Namespace) -> int:
    with database.connection_context():
        if args.action == "list":
            print("\n".join(_lines()))
        elif args.action == "limit":
            _set_limit(args)
        else:
            _set_share(args)
    return 0


def _lines() -> list[str]:
    limits = usage_limits.of_plans()
    lines = []
    for plan in Plan.select().order_by(Plan.code):
        lines.append(f"{plan.code}  {plan.name}  jobs at once: {plan.jobs_at_once or settings.tenant_jobs_at_once}")
        own = [limit for limit in limits if limit.plan_code == plan.code]
        lines += [
            f"  {limit.feature}: soft {_or_none(limit.soft)}, hard {_or_none(limit.hard)} a month" for limit in own
        ]
    return lines


def _or_none(amount: int | None) -> str:
    return "none" if amount is None else str(amount)


def _set_limit(args: argparse.Namespace) -> None:
    if args.soft is not None and args.hard is not None and args.soft > args.hard:
        raise CommandFailed("The soft limit must not be above the hard one.")
    with transaction():
        plan = Plan.by_code(args.plan)
        usage_limits.set_limit(plan.code, args.feature, soft=args.soft, hard=args.hard)
        audit.record(
            "plan.limit_set", actor(), f"plan:{plan.code}", feature=args.feature, soft=args.soft, hard=args.hard
        )
    print(f"{plan.code}: {args.feature} soft {_or_none(args.soft)}, hard {_or_none(args.hard)} a month.")


def _set_share(args: argparse.Namespace) -> None:
    with transaction():
        plan = Plan.by_code(args.plan)
        Plan.update(jobs_at_once=args.jobs).where(Plan.code == plan.code).execute()
        audit.record("plan.share_set", actor(), f"plan:{plan.code}", jobs_at_once=args.jobs)
    print(
        f"{plan.code}: {args.jobs or settings.tenant_jobs_at_once} jobs of a tenant at once. It counts within 30 seconds."
    )
