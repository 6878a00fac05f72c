"""Messages of the contact form, as mails to those who answer them."""

from models.contact.messages import SUPPRESSED, ContactMessage
from models.platform.database import transaction
from models.platform.ids import parse_uuid
from models.platform.settings import settings
from workers.jobs import MAIL_CONTACT
from workers.mail.send import send
from workers.runtime import Lease, actor


@actor(MAIL_CONTACT)
def mail_contact(lease: Lease) -> None:
    """A message to one recipient, who answers its sender; nothing if it has been erased or came from a robot."""
    message = ContactMessage.get_or_none(ContactMessage.id == parse_uuid(lease.job.args["message_id"]))
    if message is None or message.state == SUPPRESSED:
        return
    values = {name: getattr(message, name) for name in ("name", "email", "company", "topic", "ip", "user_agent")}
    is_sent = send(
        lease,
        lease.job.args["to"],
        "contact",
        reply_to=message.email,
        headers={"X-Contact-Ref": str(message.id)},
        prefix=settings.contact_email_subject_prefix.strip(),
        reference=str(message.id),
        message=message.message,
        **values,
    )
    if not is_sent:
        return
    with transaction():
        lease.job.finish()
        message.mark_mailed()
