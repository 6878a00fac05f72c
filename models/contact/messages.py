"""Messages from the contact form. They are stored first; a job mails them."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from peewee import CharField, TextField, fn

from models.auth.email_addresses import normalize_email
from models.platform import audit
from models.platform.authorization import Caller
from models.platform.client_info import UNKNOWN_CLIENT, ClientInfo
from models.platform.clock import now
from models.platform.database import in_transaction
from models.platform.errors import Conflict, NotFound
from models.platform.model import DateTimeTZField, Model
from models.platform.texts import lines, one_line

OPEN, ASSIGNED, CLOSED, SUPPRESSED = "open", "assigned", "closed", "suppressed"  # suppressed: from a robot
STATES = (OPEN, ASSIGNED, CLOSED, SUPPRESSED)
ROBOT_DAYS = 30  # that messages of robots are kept
PURGE_AT_ONCE = 1000


class MessageNotFound(NotFound):
    code, message = "contact_message_not_found", "Contact message not found."


class AssignedAlready(Conflict):
    code, message = (
        "contact_message_assigned",
        "Somebody else has this message: take it over, if that is what you want.",
    )


class NotOpen(Conflict):
    code, message = "contact_message_not_open", "The message is closed, or came from a robot: reopen it first."


class ContactMessage(Model):
    """Its id is the reference that the sender is told."""

    updated_at = DateTimeTZField(default=now)
    email = CharField()
    name = CharField(null=True)
    company = CharField(null=True)
    topic = CharField(null=True)
    message = TextField()
    ip = CharField(null=True)
    user_agent = CharField(null=True)
    state = CharField(default=OPEN)
    assignee = CharField(null=True)
    closed_at = DateTimeTZField(null=True)
    mailed_at = DateTimeTZField(null=True)

    @classmethod
    @in_transaction
    def submit(
        cls,
        *,
        email: str,
        message: str,
        name: str | None = None,
        company: str | None = None,
        topic: str | None = None,
        is_robot: bool = False,
        client: ClientInfo = UNKNOWN_CLIENT,
    ) -> "ContactMessage":
        """Store a message. What has one line in a mail or a list is stored on one line; control characters are dropped."""
        return cls.create(
            email=email,
            name=one_line(name),
            company=one_line(company),
            topic=one_line(topic),
            message=lines(message),
            ip=client.ip,
            user_agent=one_line(client.agent),
            state=SUPPRESSED if is_robot else OPEN,
        )

    @classmethod
    @in_transaction
    def locked(cls, message_id: UUID) -> "ContactMessage":
        """The message, which nobody else changes until the transaction ends. MessageNotFound."""
        row = cls.lock(message_id)
        if row is None:
            raise MessageNotFound()
        return row

    @classmethod
    def find(cls, message_id: UUID) -> "ContactMessage":
        """MessageNotFound if there is none, or none any more."""
        row: ContactMessage | None = cls.get_or_none(cls.id == message_id)
        if row is None:
            raise MessageNotFound()
        return row

    @classmethod
    @in_transaction
    def assign(
        cls,
        by: Caller,
        message_id: UUID,
        assignee: str,
        *,
        take_over: bool = False,
        client: ClientInfo = UNKNOWN_CLIENT,
    ) -> "ContactMessage":
        """Give the message to somebody. NotOpen; AssignedAlready if it is somebody else's and is not to be taken over."""
        row = cls.locked(message_id)
        if row.state not in (OPEN, ASSIGNED):
            raise NotOpen()
        if row.assignee == assignee:
            return row
        if row.assignee is not None and not take_over:
            raise AssignedAlready()
        return row.become(ASSIGNED, by, "contact.assigned", client, assignee=assignee, before=row.assignee)

    @classmethod
    @in_transaction
    def close(cls, by: Caller, message_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT) -> "ContactMessage":
        """Nothing is left to be done about it. Repeatable. NotOpen for one from a robot."""
        row = cls.locked(message_id)
        if row.state == CLOSED:
            return row
        if row.state == SUPPRESSED:
            raise NotOpen()
        row.closed_at = now()
        return row.become(CLOSED, by, "contact.closed", client, assignee=row.assignee)

    @classmethod
    @in_transaction
    def reopen(
        cls, by: Caller, message_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT
    ) -> tuple["ContactMessage", bool]:
        """(the message, whether it has to be mailed: it was taken for a robot's). One that is open stays as it is."""
        row = cls.locked(message_id)
        if row.state in (OPEN, ASSIGNED):
            return row, False
        was_robot, row.closed_at = row.state == SUPPRESSED, None
        row.become(ASSIGNED if row.assignee else OPEN, by, "contact.reopened", client, assignee=row.assignee)
        return row, was_robot

    @classmethod
    @in_transaction
    def erase(cls, by: Caller, message_id: UUID, *, client: ClientInfo = UNKNOWN_CLIENT) -> None:
        """Delete the message, whose sender has asked for that. The audit log keeps its id alone. MessageNotFound."""
        cls.locked(message_id).delete_instance()
        audit.record("contact.erased", by, f"contact:{message_id}", client=client)

    @classmethod
    @in_transaction
    def erase_all_of(cls, by: Caller, email: str) -> int:
        """Delete all messages from an address, in any case of its letters. Returns how many there were."""
        rows = list(cls.select(cls.id).where(fn.lower(cls.email) == normalize_email(email)))
        for row in rows:
            cls.erase(by, row.id)
        return len(rows)

    @classmethod
    def purge(cls, days: int) -> int:
        """Delete some of the messages that were closed more than `days` days ago, and old ones of robots. Returns how many."""
        closed = (cls.state == CLOSED) & (cls.closed_at < now() - timedelta(days=days))
        robots = (cls.state == SUPPRESSED) & (cls.created_at < now() - timedelta(days=min(days, ROBOT_DAYS)))
        some = cls.select(cls.id).where(closed | robots).limit(PURGE_AT_ONCE)
        return int(cls.delete().where(cls.id.in_(some)).execute())

    def mark_mailed(self) -> None:
        """At least one of those who answer has the message."""
        moment = now()
        ContactMessage.update(mailed_at=moment, updated_at=moment).where(
            (ContactMessage.id == self.id) & ContactMessage.mailed_at.is_null()
        ).execute()

    def become(
        self, state: str, by: Caller, action: str, client: ClientInfo, *, assignee: str | None, **details: Any
    ) -> "ContactMessage":
        """Save this state, with a line in the audit log. For the verbs above, which have locked the row."""
        self.state, self.assignee, self.updated_at = state, assignee, now()
        self.save()
        audit.record(action, by, f"contact:{self.id}", client=client, assignee=assignee, **details)
        return self
