"""`./dev stripe`: move time, refuse payments, send events, and watch Stripe's stand-in."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from devstack import instance
from devstack.options import STATE

stripe = typer.Typer(
    no_args_is_help=True,
    help="Drive the local instance's stand-in for Stripe: time, refused payments, events, faults.",
)
_TIMEOUT = 300.0  # seconds; a year with many subscriptions takes a while
_PAUSE = 0.3  # seconds between two looks of `listen`
_PAGES = {"checkout.session": "url", "billing_portal.session": "url", "invoice": "hosted_invoice_url"}
CUSTOMER = typer.Argument(help="A customer's id or e-mail address, or a tenant's id.")


def call(state: Path, name: str, **body: Any) -> dict[str, Any]:
    """The answer of a command of the stand-in. SystemExit with the reason if it refuses, or is not there."""
    import httpx

    base = instance.require(state).stripe_api_base
    if not base or "127.0.0.1" not in base:
        raise SystemExit(f"This instance uses {base or 'the real Stripe'}, not the stand-in.")
    answer = httpx.post(f"{base}/_standin/{name}", json=body, timeout=_TIMEOUT)
    result: dict[str, Any] = answer.json()
    if answer.status_code != 200:
        raise SystemExit(result["error"])
    return result


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


@stripe.command()
def advance(
    span: str = typer.Argument(help='How far, such as "1 month", "3 days" or "1 year 2 hours".'), state: Path = STATE
) -> None:
    """Move the account's time on: renewals, ends of trials, retries and cancellations happen, in order.

    A renewal's invoice is collected an hour later: advance "1 hour" more. Customers with a test clock stay where they are.
    """
    result = call(state, "advance", span=span)
    for name, count in result["events"].items():
        print(f"{count:5}  {name}")
    print(f"It is {_moment(result['now'])}.")


@stripe.command()
def decline(customer: str = CUSTOMER, state: Path = STATE) -> None:
    """Refuse all payments of a customer until `accept`."""
    print(f"Payments of {call(state, 'decline', customer=customer, declines=True)['customer']} fail from now on.")


@stripe.command()
def accept(customer: str = CUSTOMER, state: Path = STATE) -> None:
    """Let a customer's payments succeed again. What is open is paid by its page, or by the next retry."""
    print(f"Payments of {call(state, 'decline', customer=customer, declines=False)['customer']} succeed again.")


@stripe.command()
def trigger(
    event_type: str = typer.Argument(help="Such as customer.subscription.updated or invoice.payment_failed."),
    customer: str | None = typer.Option(None, help="About this customer: id, e-mail address, or tenant's id."),
    subscription: str | None = typer.Option(None, help="About this subscription: its id."),
    state: Path = STATE,
) -> None:
    """Send an event about an object as it is now; without options about the newest. Nothing changes at the stand-in."""
    result = call(state, "trigger", type=event_type, customer=customer, subscription=subscription)
    print(f"{result['type']} about {result['object']} is on its way.")


@stripe.command()
def listen(state: Path = STATE) -> None:
    """Print webhooks as they are delivered, until Ctrl-C."""
    done, seen = call(state, "state")["last_delivery"], dict[int, tuple[int, str]]()
    while True:
        rows = call(state, "deliveries", after=done)["deliveries"]
        for row in rows:
            if seen.get(row["seq"], (0, "waiting")) != (row["attempts"], row["state"]):
                seen[row["seq"]] = (row["attempts"], row["state"])
                print(
                    f"{row['state']:9}  {row['attempts']:2}  {row['answer']:5}  {row['type']}  {row['event']}",
                    flush=True,
                )
        over = [row["state"] != "waiting" for row in rows]
        settled = over.index(False) if False in over else len(over)
        done = rows[settled - 1]["seq"] if settled else done
        time.sleep(_PAUSE)


@stripe.command()
def show(
    kind: str | None = typer.Argument(None, help="Such as subscription, invoice, customer, event. Default: a summary."),
    customer: str | None = typer.Option(None, help="Only those of this customer's id."),
    limit: int = typer.Option(10, min=1, max=1000, help="How many, the newest first."),
    state: Path = STATE,
) -> None:
    """Print what the account holds, as JSON."""
    result = call(state, "show", kind=kind, customer=customer, limit=limit)["objects"] if kind else call(state, "state")
    print(json.dumps(result, indent=2))


@stripe.command()
def pages(state: Path = STATE) -> None:
    """Print the addresses of the open checkout sessions, portal sessions and unpaid invoices."""
    for kind, field in _PAGES.items():
        for item in call(state, "show", kind=kind, limit=100)["objects"]:
            if item.get("status", "open") == "open" and item[field]:
                print(item[field])


@stripe.command()
def fault(
    operation: str = typer.Argument("*", help='Which calls, such as "POST /v1/subscriptions*".'),
    what: str = typer.Argument("status=503", help="status=503, timeout=30, lost (executed, not answered) or slow=2."),
    times: int = typer.Option(1, min=1, help="How many calls."),
    clear: bool = typer.Option(False, "--clear", help="Take all faults away."),
    state: Path = STATE,
) -> None:
    """Let the next calls of an operation go wrong."""
    from devstack.stripe import faults

    try:
        rule = {"clear": True} if clear else {"operation": operation, "times": times, **faults.read(what)}
    except ValueError as error:
        raise SystemExit(str(error)) from None
    for each in call(state, "fault", **rule)["faults"]:
        print(f"{each['times']:3} x  {each['kind']}  {each['operation']}")


@stripe.command()
def webhooks(
    twice: float | None = typer.Option(None, min=0, max=1, help="The share of events that come twice: 0 to 1."),
    fail_first: float | None = typer.Option(
        None, min=0, max=1, help="The share of first attempts that are dropped: 0 to 1."
    ),
    delay: float | None = typer.Option(None, min=0, help="Seconds that each waits at most."),
    shuffle: bool | None = typer.Option(None, help="Send what is due in any order."),
    ordered: bool | None = typer.Option(None, help="Send one after the other, in order."),
    state: Path = STATE,
) -> None:
    """Show or set how webhooks are delivered."""
    given = {"twice": twice, "fail_first": fail_first, "delay": delay, "shuffle": shuffle, "ordered": ordered}
    print(json.dumps(call(state, "webhooks", **{name: value for name, value in given.items() if value is not None})))


@stripe.command()
def resend(event: str = typer.Argument(help="An event's id, or `all`."), state: Path = STATE) -> None:
    """Send an event once more."""
    body = {"all": True} if event == "all" else {"event": event}
    print(f"{call(state, 'resend', **body)['deliveries']} deliveries are on their way.")


@stripe.command("after-retries")
def after_retries(outcome: str = typer.Argument(help="canceled, unpaid or past_due."), state: Path = STATE) -> None:
    """Set what becomes of a subscription when the last retry of a payment has failed."""
    print(call(state, "settings", after_retries=outcome)["after_retries"])
