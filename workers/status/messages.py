"""What is told of an update: the words that mails, webhooks and Slack share, and the body and headers of a webhook."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.platform.clock import iso, minute_text
from models.platform.json import encode_sorted
from models.platform.settings import settings
from models.status.deliveries import Fanout, StatusDelivery
from models.status.incidents import ENDS, INCIDENT, Incident, Update
from models.status.services import services
from models.status.tokens import page
from workers.gateways.webhooks import Message

# Types of events by kind of incident: the first update, the last one, and those between.
EVENTS = {
    INCIDENT: ("incident.opened", "incident.resolved", "incident.updated"),
    "maintenance": ("maintenance.scheduled", "maintenance.completed", "maintenance.updated"),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """An update with its incident, in the words that people read. `services`, `names`: of the affected ones; none: of everything."""

    update_id: UUID
    incident_id: str
    event: str
    kind: str
    title: str
    services: tuple[str, ...]
    names: tuple[str, ...]
    state: str
    severity: str
    impact: str
    text: str
    url: str
    occurred_at: datetime
    starts_at: datetime
    until: datetime | None

    @classmethod
    def of(cls, update_id: UUID) -> "Alert":
        update = Update.get_by_id(update_id)
        incident = Incident.get_by_id(update.incident_id)
        told = Fanout.select(
            Fanout.update_id
        )  # what a draft said before, or what was said quietly, is news to subscribers
        earlier = Update.select().where(
            (Update.incident_id == incident.id) & (Update.id < update.id) & Update.id.in_(told)
        )
        first, last, between = EVENTS[incident.kind]
        event = last if update.state in ENDS else between if earlier.exists() else first
        return cls(
            update_id=update.id,
            incident_id=incident.slug,
            event=event,
            kind=incident.kind,
            title=incident.title,
            names=tuple(_name(key) for key in incident.services),
            services=tuple(incident.services),
            state=update.state,
            severity=incident.severity,
            impact=incident.impact,
            text=update.text,
            url=f"{page()}/incidents/{incident.slug}",
            occurred_at=update.created_at,
            starts_at=incident.starts_at,
            until=incident.until,
        )

    @property
    def service(self) -> str:
        return ", ".join(self.names) or settings.app_name

    @property
    def state_title(self) -> str:
        return self.state.replace("_", " ").title()

    def mail_values(self) -> dict[str, Any]:
        """What the template `status_incident` needs."""
        return {
            "kind": self.kind,
            "title": self.title,
            "state": self.state,
            "services": list(self.names),
            "impact": self.impact,
            "starts_at": minute_text(self.starts_at),
            "until": minute_text(self.until) if self.until else None,
            "text": self.text,
            "url": self.url,
        }


def _name(key: str) -> str:
    service = services().get(key)
    return service.name if service else key


def webhook(alert: Alert, delivery: StatusDelivery) -> Message:
    """What a webhook gets: the same bytes at every attempt. Keys are sorted."""
    body = {
        "type": alert.event,
        "dispatched_at": iso(delivery.created_at),
        "impact": alert.impact,
        "incident_id": alert.incident_id,
        "occurred_at": iso(alert.occurred_at),
        "service": alert.service,
        "services": list(alert.services),
        "severity": alert.severity,
        "state": alert.state,
        "subscription_id": str(delivery.subscription_id),
        "text": alert.text,
        "title": alert.title,
        "update_id": str(alert.update_id),
        "url": alert.url,
    }
    return Message(message_id(delivery.id), encode_sorted(body))


def message_id(delivery_id: UUID) -> str:
    """The id by which receivers tell a message that comes twice."""
    return f"msg_{delivery_id.hex}"


def webhook_headers(message: Message, event: str, secrets: Sequence[str], timestamp: int) -> dict[str, str]:
    """The headers beside those of Standard Webhooks. The signature is made with the newest secret, as text, over the body alone."""
    headers = {"X-Status-Event": event, "X-Status-Delivery": message.id, "X-Status-Timestamp": str(timestamp)}
    if secrets:
        headers["X-Status-Signature"] = hmac.new(secrets[0].encode(), message.body, hashlib.sha256).hexdigest()
    return headers
