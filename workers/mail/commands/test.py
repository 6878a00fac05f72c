"""A mail that shows whether mails can be sent."""

import argparse

from models.commands import CommandFailed
from models.platform.ids import uuid7
from workers.gateways.mail import MailFailed
from workers.mail.send import sender

HELP = "Send a mail to an address, to see whether the mail server or the provider accepts it."


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address")


def run(args: argparse.Namespace) -> int:
    try:
        with sender() as by:
            is_sent = by.send(args.address, "test", message_id=uuid7().hex)
    except MailFailed as error:
        raise CommandFailed(str(error)) from None
    if not is_sent:
        raise CommandFailed("Mail to this address is suppressed: see `suppressions list`.")
    print("The mail was accepted.")
    return 0
