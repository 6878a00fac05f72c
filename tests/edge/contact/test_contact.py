"""The contact form: what is stored and mailed, what is refused, and what a robot learns."""

import logging

import pytest

from models.contact.messages import OPEN, SUPPRESSED, ContactMessage
from models.jobs.ledger import Job
from tests.support.accounts import is_rate_limited
from tests.support.crowd import crowd
from tests.support.routes import assert_envelope

TEXT = "Do you ship to Norway?"


@pytest.fixture
def send(http):
    def post(**body):
        return http.simulate_post("/api/v1/contact", json={"email": "jo@example.com", "message": TEXT, **body})

    return post


@pytest.fixture
def jobs(jobs_named):
    return lambda: [(job.args["message_id"], job.args["to"]) for job in jobs_named("mail.contact")]


@pytest.fixture
def unlimited(configure):
    configure(contact_email_email_rate_limit_per_hour=0, contact_email_ip_rate_limit_per_hour=0)


def test_a_message_is_stored_and_a_mail_is_queued_for_each_recipient(send, jobs, configure):
    configure(contact_email_to="help@example.com, sales@example.com")
    answer = send(name="Jo", company="Acme", topic="Shipping")
    assert answer.status_code == 202
    assert answer.json["success"] is True
    assert answer.json["message"] == "Thanks for reaching out. We'll respond soon."
    row = ContactMessage.get()
    reference = str(row.id)
    expected = {"reference_id": reference, "delivered": False, "message_id": None, "suppressed": False}
    assert answer.json["data"] == expected
    assert (row.name, row.company, row.topic, row.message, row.state) == ("Jo", "Acme", "Shipping", TEXT, OPEN)
    assert jobs() == [(reference, "help@example.com"), (reference, "sales@example.com")]


def test_a_robot_gets_the_same_answer_and_nothing_is_mailed(send, jobs, unlimited):
    person, robot = send(), send(honeypot="buy")
    assert robot.status_code == person.status_code
    assert robot.json["data"] | {"reference_id": 0} == person.json["data"] | {"reference_id": 0}
    assert set(robot.headers) == set(person.headers)
    rows = {str(row.id): row.state for row in ContactMessage.select()}
    assert rows == {person.json["data"]["reference_id"]: OPEN, robot.json["data"]["reference_id"]: SUPPRESSED}
    assert [reference for reference, _ in jobs()] == [person.json["data"]["reference_id"]]


def test_blanks_in_the_honeypot_are_nothing(send):
    send(honeypot="  ")
    assert ContactMessage.get().state == OPEN


@pytest.mark.parametrize(
    "body",
    [
        {"message": " " * 50},
        {"message": "\n\t        short\n      "},
        {"message": "short"},
        {"message": "x" * 2001},
        {"email": "jo"},
        {"email": "jo@example.com\nBcc: all@example.com"},
        {"email": "jo@example.com, al@example.com"},
        {"email": "x" * 300 + "@example.com"},
        {"topic": "x" * 81},
        {"name": "x" * 121},
        {"honeypot": "x" * 65},
        {"message": "a NUL \0 in the text"},
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(send, jobs, body):
    assert send(**body).status_code == 422
    assert ContactMessage.select().count() == 0 and jobs() == []


def test_a_message_that_is_refused_costs_nothing(send, configure):
    configure(contact_email_ip_rate_limit_per_hour=1)
    for _ in range(3):
        assert send(message="short").status_code == 422
    assert send().status_code == 202


def test_line_breaks_and_control_characters_stay_out_of_what_has_one_line(send):
    send(name="Jo\r\nE-mail: boss@example.com", topic="Hi\r\nBcc: all@example.com\x1b[2J\u2028x", company=" \n ")
    row = ContactMessage.get()
    assert (row.name, row.company) == ("Jo E-mail: boss@example.com", None)
    assert row.topic == "Hi Bcc: all@example.com [2J x"


def test_a_text_keeps_its_lines_and_nothing_that_a_terminal_obeys(send):
    send(message="One\r\ntwo\n\n\tthree \x1b[31m\x07\x9b four \u00fc\u4f60")
    assert ContactMessage.get().message == "One\ntwo\n\n\tthree  [31m  four \u00fc\u4f60"


def test_an_address_has_its_limit_in_any_case_of_its_letters(send, configure):
    configure(contact_email_email_rate_limit_per_hour=2)
    assert [send(email=email).status_code for email in ("jo@example.com", "JO@example.com")] == [202, 202]
    assert is_rate_limited(send(email="Jo@EXAMPLE.com"), "contact_email")
    assert send(email="al@example.com").status_code == 202
    assert ContactMessage.select().count() == 3


def test_a_network_has_its_limit_and_robots_count_too(send, configure):
    configure(contact_email_ip_rate_limit_per_hour=2)
    assert [send(email=f"{n}@example.com", honeypot="x").status_code for n in range(2)] == [202, 202]
    assert is_rate_limited(send(email="3@example.com"), "contact_ip")


def test_a_network_beyond_its_limit_uses_up_nobodys_address(send, configure):
    configure(contact_email_ip_rate_limit_per_hour=1, contact_email_email_rate_limit_per_hour=1)
    send(email="robot@example.com")
    assert is_rate_limited(send(), "contact_ip")
    configure(contact_email_ip_rate_limit_per_hour=0)
    assert send().status_code == 202


def test_of_a_crowd_as_many_get_through_as_may(send, configure):
    configure(contact_email_email_rate_limit_per_hour=3, contact_email_ip_rate_limit_per_hour=0)
    statuses = [answer.status_code for answer in crowd(20, lambda n: send())]
    assert sorted(statuses) == [202] * 3 + [429] * 17
    assert ContactMessage.select().count() == 3 == Job.select().where(Job.name == "mail.contact").count()


def test_what_fails_leaves_neither_a_message_nor_a_mail(send, jobs, monkeypatch):
    monkeypatch.setattr("edge.resources.contact.mail", lambda row: 1 / 0)
    assert_envelope(send(), 500)
    assert ContactMessage.select().count() == 0 and jobs() == []


def test_logs_have_the_reference_and_nothing_of_the_sender(send, caplog):
    with caplog.at_level(logging.INFO):
        reference = send(name="Jo Doe").json["data"]["reference_id"]
    [record] = [one for one in caplog.records if one.getMessage() == "contact.submission.accepted"]
    assert record.reference_id == reference
    assert "jo@example.com" not in caplog.text and TEXT not in caplog.text
