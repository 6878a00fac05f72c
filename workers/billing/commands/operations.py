"""What tenants have asked of Stripe, and what came of it."""

import argparse

from models.billing.operations import FAILED, PENDING, SUCCEEDED, BillingOperation, OperationNotFound
from models.commands import CommandFailed, actor
from models.platform import audit
from models.platform.clock import iso
from models.platform.database import transaction
from models.platform.ids import parse_uuid
from workers.jobs import BILLING_OPERATION, enqueue

HELP = "List operations towards Stripe, and send an open one to a worker again."


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|retry")
    listing = actions.add_parser("list", help="the newest first")
    listing.add_argument("--tenant", help="a tenant's id")
    listing.add_argument("--is", dest="state", choices=(PENDING, SUCCEEDED, FAILED))
    listing.add_argument("--kind", help="such as start, update or cancel")
    listing.add_argument("--limit", type=int, default=50)
    retry = actions.add_parser(
        "retry", help="send an open operation to a worker again: repeatable, nothing is done twice"
    )
    retry.add_argument("operation", help="its id")


def run(args: argparse.Namespace) -> int:
    return _list(args) if args.action == "list" else _retry(args)


def _list(args: argparse.Namespace) -> int:
    tenant_id = parse_uuid(args.tenant) if args.tenant else None
    if args.tenant and tenant_id is None:
        raise CommandFailed("A tenant's id is a UUID.")
    for one in BillingOperation.listing(tenant_id=tenant_id, state=args.state, kind=args.kind, limit=args.limit):
        problem = f"{one.error_code}: {one.error_message}" if one.error_code else ""
        print(
            f"{one.id}  {iso(one.created_at)}  {one.tenant_id}  {one.kind:9}  {one.state:9}  {one.actor}  {problem}".rstrip()
        )
    return 0


def _retry(args: argparse.Namespace) -> int:
    operation_id = parse_uuid(args.operation)
    operation = BillingOperation.reload(operation_id) if operation_id else None
    if operation is None:
        raise OperationNotFound()
    if operation.is_finished:
        raise CommandFailed(f"It has {operation.state}. What has ended is not tried again: ask for it anew.")
    with transaction():
        enqueue(BILLING_OPERATION, tenant_id=operation.tenant_id, operation_id=str(operation.id))
        audit.record(
            "billing.operation_retried", actor(), f"tenant:{operation.tenant_id}", operation_id=str(operation.id)
        )
    print("Sent.")
    return 0
