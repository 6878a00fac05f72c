"""Messages from the contact form. They are stored first; a job mails them."""

from peewee import CharField, TextField

from models.platform.clock import now
from models.platform.errors import NotFound
from models.platform.model import DateTimeTZField, Model

OPEN, ASSIGNED, CLOSED, SUPPRESSED = "open", "assigned", "closed", "suppressed"  # suppressed: from a robot


class MessageNotFound(NotFound):
    code, message = "contact_message_not_found", "Contact message not found."


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
