"""What tenants have used: exported, corrected, and compared with Stripe."""

import argparse
import csv
import json
import sys
from datetime import UTC, datetime
from uuid import UUID

from models.billing import reported_usage, usage_batches, usage_export
from models.billing.plans import of_plans
from models.billing.usage_windows import Window
from models.commands import CommandFailed, actor
from models.commands.members import find_tenant
from models.platform import audit
from models.platform.database import release, transaction
from workers.billing import usage_comparison

HELP = "Export, correct and compare what tenants have used."
TENANT = "the tenant's slug or id"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="export|correct|compare|parked|resend")
    export = actions.add_parser("export", help="usage against limits")
    export.add_argument("--tenant", help=f"{TENANT} (default: all)")
    export.add_argument("--plan", help="only tenants on this plan")
    export.add_argument("--period", type=_month, help="a month, such as 2026-11 (default: the present window)")
    export.add_argument("--format", choices=("csv", "json"), default="csv")
    correct = actions.add_parser("correct", help="add to what a tenant has used, or take from it")
    correct.add_argument("tenant", help=TENANT)
    correct.add_argument("feature", help="the feature's key")
    correct.add_argument("quantity", type=_quantity, help="what is added; negative: taken away")
    correct.add_argument("--at", type=_time, help="when it was used, in ISO 8601 (default: now)")
    correct.add_argument("--reason", required=True, help="for the audit log")
    compare = actions.add_parser(
        "compare", help="our sums of the present window next to Stripe's; exit status 1 if they differ"
    )
    compare.add_argument("tenant", help=TENANT)
    actions.add_parser("parked", help="the batches that cannot be sent to Stripe")
    resend = actions.add_parser("resend", help="send a parked batch again: only if Stripe does not have it")
    resend.add_argument("batch", type=UUID, help="the batch's id")
    resend.add_argument("--reason", required=True, help="for the audit log")


def run(args: argparse.Namespace) -> int:
    actions = {"export": _export, "correct": _correct, "compare": _compare, "parked": _parked, "resend": _resend}
    try:
        return actions[args.action](args)
    finally:
        release()


def _export(args: argparse.Namespace) -> int:
    rows = usage_export.rows(find_tenant(args.tenant).slug if args.tenant else None, args.plan, args.period)
    if args.format == "json":
        print(json.dumps([row._asdict() for row in rows], indent=2, default=str))
        return 0
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(usage_export.ExportRow._fields)
    writer.writerows(rows)
    return 0


def _correct(args: argparse.Namespace) -> int:
    tenant = find_tenant(args.tenant)
    if args.feature not in {feature.key for feature in of_plans()}:
        raise CommandFailed(f"No plan has the feature '{args.feature}'.")
    by = str(actor())
    with transaction():
        source = reported_usage.correct(tenant.id, by, args.feature, args.quantity, args.reason, args.at)
    print(f"{args.quantity:+} {args.feature} for {tenant.slug}: {source}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    found = usage_comparison.compare(find_tenant(args.tenant).id)
    for one in found:
        print(
            f"{one.feature}: counted {one.counted}, sent {one.sent}, waiting {one.waiting}, parked {one.parked}, "
            f"at Stripe {one.at_stripe}{'' if one.is_right else '  DIFFERS'}"
        )
    return 0 if all(one.is_right for one in found) else 1


def _parked(args: argparse.Namespace) -> int:
    for batch, error in usage_batches.parked():
        print(f"{batch.id}  tenant {batch.tenant_id}  {batch.feature} {batch.quantity}  {batch.used_at:%F %T}  {error}")
    return 0


def _resend(args: argparse.Namespace) -> int:
    with transaction():
        if not usage_batches.resume(args.batch):
            raise CommandFailed("There is no such batch, or it is not parked.")
        audit.record("usage.resend", str(actor()), str(args.batch), reason=args.reason)
    print("It is sent with the next ones.")
    return 0


def _quantity(text: str) -> int:
    number = int(text) if text.lstrip("+-").isdecimal() else 0
    if not 0 < abs(number) <= reported_usage.MOST:
        raise argparse.ArgumentTypeError(f"must be a number other than 0, up to {reported_usage.MOST:_}")
    return number


def _month(text: str) -> Window:
    try:
        return usage_export.month_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a month such as 2026-11") from None


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not a time such as 2026-11-30T12:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
