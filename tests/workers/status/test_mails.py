"""Alerts by mail."""

from devstack.process import free_port
from tests.support.status import deliveries, fan_out, incident, later, subscribe, update


def test_a_mail_tells_what_has_happened_and_how_to_leave(mailbox, clean, configure):
    configure(status_page_url="https://status.example.com")
    row = subscribe("ada@example.com")
    found, _ = incident(title="API & <chat> are slow")
    fan_out(update(found, state="resolved", text="It is over."))
    [(to, mail)] = mailbox.mails
    plain, html = (mail.get_body([kind]).get_content() for kind in ("plain", "html"))
    link = f"https://status.example.com/unsubscribe?subscription_id={row.id}&token="
    assert to == ["ada@example.com"] and "Resolved" in mail["Subject"]
    assert link in mail["List-Unsubscribe"] and mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link in plain and "It is over." in plain and "API & <chat>" in plain
    assert "&lt;chat&gt;" in html and "<chat>" not in html
    assert mail["Message-ID"] == f"<msg_{deliveries()[0].id.hex}@localhost>"


def test_a_mail_is_tried_again_with_the_same_id(mailbox, clean, monkeypatch):
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    mailbox.answers = ["451 later"]
    subscribe("ada@example.com")
    fan_out(incident()[1])
    assert deliveries()[0].state == "pending"
    later()
    first, second = (mail["Message-ID"] for _, mail in mailbox.mails)
    assert first == second and deliveries()[0].state == "delivered"


def test_what_is_no_address_is_not_tried_again(mailbox, clean):
    subscribe("ada b@example.com")
    fan_out(incident()[1])
    [delivery] = deliveries()
    assert (delivery.state, delivery.attempts) == ("given_up", 1)


def test_a_dead_mail_server_is_asked_twice_and_nothing_is_lost(mailbox, clean, configure, monkeypatch):
    configure(smtp_url=f"smtp://127.0.0.1:{free_port()}")
    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    for number in range(15):
        subscribe(f"{number}@example.com")
    fan_out(incident()[1])
    tried = [one.attempts for one in deliveries()]
    assert {one.state for one in deliveries()} == {"pending"} and sum(tried) < 15
    configure(smtp_url=f"smtp://127.0.0.1:{mailbox.port}")
    later()
    assert {one.state for one in deliveries()} == {"delivered"}
    assert sorted(to for to, _ in mailbox.mails) == sorted([[f"{number}@example.com"] for number in range(15)])


def test_suppressed_addresses_get_nothing(mailbox, clean):
    from models.mail import suppressions
    from models.platform.database import transaction

    subscribe("ada@example.com")
    with transaction():
        suppressions.add("ada@example.com", suppressions.COMPLAINT)
    fan_out(incident()[1])
    assert not mailbox.mails and deliveries()[0].state == "skipped"


def test_threads_that_send_keep_no_connection_to_postgres(mailbox, clean):
    from models.mail import suppressions
    from models.platform.database import database, release, transaction

    release()
    free = database.slots._value
    for number in range(3):
        subscribe(f"{number}@example.com")
        with transaction():
            suppressions.add(f"{number}@example.com", suppressions.COMPLAINT)
    fan_out(incident()[1])
    assert {one.state for one in deliveries()} == {"skipped"}
    release()
    assert database.slots._value == free


def test_addresses_that_the_server_does_not_take_now_hold_up_no_others(mailbox, clean, monkeypatch):
    """It has answered: it is not the server that is ill."""
    from models.platform.database import database

    monkeypatch.setattr("workers.status.deliver.LINGER_SECONDS", 0)
    monkeypatch.setattr("workers.status.sending.MAILS_OF_A_CONNECTION", 1)
    mailbox.refused = {f"full-{number}@example.com": "450 4.2.2 mailbox full" for number in range(6)}
    for number in range(6):
        subscribe(f"full-{number}@example.com")
    fan_out(incident()[1])
    assert {one.state for one in deliveries()} == {"pending"} and {one.attempts for one in deliveries()} == {1}
    assert database.execute_sql("select count(*) from status_host").fetchone() == (0,)
