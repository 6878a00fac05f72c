"""`python -m workers.contact messages`."""

import pytest

from models.contact.messages import ContactMessage
from models.platform.database import transaction
from workers.contact.commands import main

pytestmark = pytest.mark.usefixtures("clean")


def left(email="jo@example.com", **more):
    with transaction():
        return ContactMessage.submit(email=email, message="Do you ship to Norway?", **more)


@pytest.fixture
def run(capsys):
    """run(words ...) -> (exit status, what was printed)."""

    def command(*words):
        capsys.readouterr()
        status = main(["messages", *map(str, words)])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return command


def test_messages_are_listed_and_shown(run):
    row, robot = left(topic="Shipping"), left(is_robot=True)
    assert [str(one.id) in run("list")[1] for one in (row, robot)] == [True, True]
    assert str(row.id) not in run("list", "--is", "suppressed")[1]
    status, text = run("show", row.id)
    assert status == 0 and "Shipping" in text and text.endswith("Do you ship to Norway?\n")


def test_messages_are_assigned_closed_and_reopened(run):
    row = left()
    for words, state, assignee in (
        (("assign", row.id, "Ann"), "assigned", "Ann"),
        (("assign", row.id, "Bo", "--take-over"), "assigned", "Bo"),
        (("close", row.id), "closed", "Bo"),
        (("reopen", row.id), "assigned", "Bo"),
    ):
        assert run(*words) == (0, "Done.\n")
        now = ContactMessage.get()
        assert (now.state, now.assignee) == (state, assignee)


def test_a_message_of_no_robot_is_mailed(run, jobs_named):
    run("reopen", left(is_robot=True).id)
    assert len(jobs_named("mail.contact")) == 1


def test_messages_are_erased(run):
    rows = [left(), left("JO@example.com"), left("al@example.com")]
    assert run("erase", rows[2].id) == (0, "Done.\n")
    assert run("erase-all", "jo@example.com") == (0, "Erased: 2\n")
    assert ContactMessage.select().count() == 0


def test_mistakes_are_told(run):
    row = left(is_robot=True)
    assert run("show", "nonsense") == (2, "error: A message's id is a UUID.\n")
    assert run("close", row.id)[0] == 2
    assert run("show", "01a20ac7-784f-712d-8112-15c292557957") == (2, "error: Contact message not found.\n")
