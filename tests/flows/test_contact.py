"""A message of the contact form, from a stranger to those who answer it, over real processes."""

import httpx

from devstack import mails
from models.platform.ids import uuid7
from tests.support.mails import plain


def test_a_message_reaches_those_who_answer(live, wait_until):
    topic, sender = f"Topic {uuid7().hex}", f"{uuid7().hex}@example.com"
    body = {"email": sender, "topic": topic, "message": "Do you ship to Norway?"}
    answer = httpx.post(f"{live.url}/api/v1/contact", json=body, timeout=30)
    assert answer.status_code == 202, answer.text
    reference = answer.json()["data"]["reference_id"]

    def arrived():
        found = (mails.read(file) for file in mails.stored(live.stack.state))
        return next((mail for mail in found if mail["X-Contact-Ref"] == reference), None)

    mail = wait_until(arrived, 100)
    assert (mail["To"], mail["Reply-To"]) == ("support@localhost", sender)
    assert mail["Subject"] == f"[Contact] {topic}"
    assert body["message"] in plain(mail)
