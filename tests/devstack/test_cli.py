"""The commands of ./dev that need no running instance."""

import json
from email.message import EmailMessage

import pytest
from typer.testing import CliRunner

from devstack import instance
from devstack.cli import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    """run("logs", ...) -> the result of ./dev with an empty state folder and no database in the environment."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    return lambda *args: CliRunner().invoke(app, [*args, "--state", str(tmp_path)])


def store_mail(state, name, to, subject):
    message = EmailMessage()
    message["To"], message["Subject"] = to, subject
    message.set_content("Hello")
    (state / "mail").mkdir(exist_ok=True)
    (state / "mail" / f"{name}.eml").write_bytes(bytes(message))


@pytest.mark.parametrize(
    "command",
    [
        ["chat", "hi"],
        ["jobs", "list"],
        ["jobs", "show", "1"],
        ["operators", "list"],
        ["audit"],
        ["seed"],
        ["storage", "reconcile"],
        ["vector-stores", "stores", "list"],
    ],
)
def test_without_an_instance_a_command_says_how_to_start_one(run, tmp_path, command):
    result = run(*command)
    assert result.exit_code == 1
    assert result.output.strip() == (
        f"No instance is running in {tmp_path}. Start one with `./dev up --state {tmp_path}`."
    )


def test_stopping_without_an_instance_is_not_an_error(run):
    assert run("down").exit_code == 0


def test_a_ready_file_of_a_dead_process_is_ignored(tmp_path):
    names = instance.Instance.__dataclass_fields__
    facts = dict.fromkeys(names, "x") | {"pid": 2**22, "started": 1.0}
    instance.ready_file(tmp_path).write_text(json.dumps(facts))
    assert instance.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": "x"}'])
def test_a_malformed_ready_file_is_ignored(tmp_path, text):
    instance.ready_file(tmp_path).write_text(text)
    assert instance.read(tmp_path) is None


def test_logs_prints_all_files_or_those_of_one_part(run, tmp_path):
    assert run("logs").exit_code == 1
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "valkey.log").write_text("ready\n")
    assert run("logs").exit_code == 0
    assert run("logs", "valkey").exit_code == 0
    result = run("logs", "postgres")
    assert result.exit_code == 1 and f"No logs of postgres in {tmp_path}." in result.output


def test_mail_lists_the_newest_first_and_prints_one(run, tmp_path):
    assert f"No mails in {tmp_path}." in run("mail").output
    store_mail(tmp_path, 1, "old@example.com", "First")
    store_mail(tmp_path, 2, "new@example.com", "Second")
    assert [line.split() for line in run("mail").output.splitlines()] == [
        ["1", "new@example.com", "Second"],
        ["2", "old@example.com", "First"],
    ]
    assert run("mail", "--show", "2").output.startswith("To: old@example.com\nSubject: First\n\nHello")
    result = run("mail", "--show", "3")
    assert result.exit_code == 1 and "There is no mail 3; the oldest is 2." in result.output


def test_an_unknown_job_state_is_refused(run):
    assert run("jobs", "list", "--is", "lost").exit_code == 2
