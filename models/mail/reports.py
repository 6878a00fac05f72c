"""What a mail provider reports of mails that were sent: a bounce or a complaint suppresses the address."""

from typing import Any, NamedTuple

from models.mail import suppressions
from models.mail.addresses import is_single
from models.mail.suppressions import BOUNCE, COMPLAINT
from models.platform.database import in_transaction

PERMANENT = "Permanent"


class Report(NamedTuple):
    address: str
    reason: str
    details: dict[str, str]


def read(event: Any) -> Report | None:
    """What an event of Resend says; None if it suppresses nothing: a delivery, a bounce that will pass, or one of several."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict):
        return None
    reason = {"email.bounced": BOUNCE, "email.complained": COMPLAINT}.get(str(event.get("type")))
    to, bounce = data.get("to"), data.get("bounce")
    bounce = bounce if isinstance(bounce, dict) else {}
    if reason is None or (reason == BOUNCE and bounce.get("type", PERMANENT) != PERMANENT):
        return None
    if not isinstance(to, list) or len(to) != 1 or not isinstance(to[0], str) or not is_single(to[0]):
        return None  # we never send a mail to several
    details = {"email_id": data.get("email_id"), "kind": bounce.get("subType")}
    return Report(to[0], reason, {name: value[:64] for name, value in details.items() if isinstance(value, str)})


@in_transaction
def take(report: Report) -> bool:
    """Suppress the address. Returns whether that is new: the same report may come again."""
    return suppressions.add(report.address, report.reason, **report.details)[1]
